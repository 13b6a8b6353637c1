"""Blocks as numbers."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.alignment import ALIGNMENT
from streamer.plan.block import lay_out
from streamer.plan.packed import InflatedSizes

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


def test_sizes_beyond_64_bits_do_not_wrap():
    assert lay_out("b", [("a", (1 << 40, 1 << 40))], 4).nbytes == 1 << 82


def test_what_a_block_is_comes_from_the_caller():
    block = lay_out("rest", [("scale", ())], 2, pinned=True, runway=True)
    assert (block.name, block.pinned, block.runway, block.nbytes) == ("rest", True, True, 512)


def test_a_block_whose_tensors_can_be_inflated_says_what_it_saves():
    sizes = InflatedSizes(64, 64, 8, 8, 0)
    shapes = [("w", (64, 64)), ("b", (64,))]
    block = lay_out("b", shapes, 2, inflated=[sizes, None])
    assert block.packed is not None
    assert block.packed.saved_nbytes == block.nbytes - block.packed.nbytes > 0
    assert lay_out("b", shapes, 2).packed is None
    assert lay_out("b", shapes, 2, inflated=[None, None]).packed is None
