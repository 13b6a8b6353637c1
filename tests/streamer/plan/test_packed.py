"""The packed form of a block, as numbers."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.alignment import ALIGNMENT
from streamer.plan.packed import InflatedSizes, pack


@st.composite
def any_sizes(draw: st.DrawFn) -> InflatedSizes:
    rows, columns, d = draw(st.integers(0, 40)), draw(st.integers(0, 400)), draw(st.integers(1, 32))
    blocks = draw(st.integers(0, math.ceil(columns / d)))
    return InflatedSizes(rows, columns, d, blocks, draw(st.integers(0, rows * columns)))


@given(any_sizes())
def test_sections_lie_one_after_the_other_each_aligned_and_as_large_as_it_is(sizes):
    found = [end - start for start, end in sizes.sections]
    assert found == [2 * sizes.rows * sizes.blocks, 6 * sizes.rows, 4 * sizes.overlay_count, 2 * sizes.overlay_count]
    assert sizes.sections[0][0] == 0
    assert all(0 <= after[0] - before[1] < 64 and after[0] % 64 == 0 for before, after in pairwise(sizes.sections))
    assert sizes.nbytes == sizes.sections[-1][1]


@given(any_sizes(), st.integers(0, 3), st.integers(0, 3))
def test_fewer_indices_or_entries_than_announced_never_need_more_room(sizes, fewer_blocks, fewer_entries):
    blocks, entries = max(0, sizes.blocks - fewer_blocks), max(0, sizes.overlay_count - fewer_entries)
    assert InflatedSizes(sizes.rows, sizes.columns, sizes.d, blocks, entries).nbytes <= sizes.nbytes


@given(st.lists(st.tuples(any_sizes(), st.booleans()), min_size=1, max_size=6), st.sampled_from([2, 4]))
def test_each_tensor_has_the_smaller_form_and_the_block_is_packed_only_if_that_is_fewer_bytes(tensors, itemsize):
    dense = [itemsize * sizes.weights for sizes, _ in tensors]
    inflated = [sizes if has else None for sizes, has in tensors]
    form = pack(dense, inflated)
    least = [min(n, s.nbytes) if s else n for n, s in zip(dense, inflated, strict=True)]
    dense_nbytes = sum(math.ceil(n / ALIGNMENT) * ALIGNMENT for n in dense)
    packed_nbytes = sum(math.ceil(n / 64) * 64 for n in least)
    packed_nbytes = math.ceil(packed_nbytes / ALIGNMENT) * ALIGNMENT
    if form is None:
        assert packed_nbytes >= dense_nbytes or all(
            s is None or s.nbytes >= n for n, s in zip(dense, inflated, strict=True)
        )
        return
    assert (form.nbytes, form.saved_nbytes) == (packed_nbytes, dense_nbytes - packed_nbytes)
    assert form.saved_nbytes > 0
    assert [place.nbytes for place in form.places] == least
    for place, sizes, nbytes in zip(form.places, inflated, dense, strict=True):
        assert place.inflated is (sizes if sizes and sizes.nbytes < nbytes else None)
        assert place.offset % 64 == 0
        assert place.offset + place.nbytes <= form.nbytes
    assert all(a.offset + a.nbytes <= b.offset for a, b in pairwise(form.places))


def test_a_block_of_nothing_inflated_is_not_packed_to_save_padding():
    assert pack([2, 2, 2], [None, None, None]) is None


def test_more_weights_than_positions_reach_stay_dense():
    rows = 1 << 16
    fits, too_many = (InflatedSizes(rows, columns, 8, columns // 8, 0) for columns in (rows // 2 - 1, rows // 2))
    for sizes, packed in ((fits, True), (too_many, False)):
        assert (pack([2 * sizes.weights], [sizes]) is not None) == packed
