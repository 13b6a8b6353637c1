"""Blocks as numbers."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.block import ALIGNMENT, align, lay_out

shapes = st.lists(st.integers(0, 40), max_size=3).map(tuple)


@given(st.lists(shapes, max_size=8), st.sampled_from([1, 2, 4]))
def test_tensors_lie_one_after_the_other_each_aligned(given_shapes, itemsize):
    block = lay_out("b", [(str(i), shape) for i, shape in enumerate(given_shapes)], itemsize)
    end = 0
    for place, shape in zip(block.tensors, given_shapes, strict=True):
        assert place.shape == shape
        assert place.nbytes == math.prod(shape) * itemsize
        assert place.offset % ALIGNMENT == 0
        assert 0 <= place.offset - end < ALIGNMENT
        end = place.offset + place.nbytes
    assert 0 <= block.nbytes - end < ALIGNMENT
    assert block.nbytes % ALIGNMENT == 0


@given(st.integers(0, 10**12), st.integers(1, 4096))
def test_align_gives_the_next_multiple(nbytes, alignment):
    assert align(nbytes, alignment) == next(n for n in range(nbytes, nbytes + alignment) if n % alignment == 0)


def test_sizes_beyond_64_bits_do_not_wrap():
    assert lay_out("b", [("a", (1 << 40, 1 << 40))], 4).nbytes == 1 << 82


def test_what_a_block_is_comes_from_the_caller():
    block = lay_out("rest", [("scale", ())], 2, pinned=True, runway=True)
    assert (block.name, block.pinned, block.runway, block.nbytes) == ("rest", True, True, 512)
