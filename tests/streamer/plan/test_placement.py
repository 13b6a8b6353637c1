"""Slots: what overlaps, and how the ring is shared out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.order import neighbours
from streamer.plan.placement import Slot, crowded, place_in_ring, place_side_by_side
from tests.streamer.plan.examples import block, equal

ranges = st.builds(Slot, st.integers(0, 12), st.integers(0, 6))


@given(ranges, ranges)
def test_slots_overlap_when_they_share_a_byte(a, b):
    shared = set(range(a.offset, a.end)) & set(range(b.offset, b.end))
    assert a.overlaps(b) == b.overlaps(a) == bool(shared)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(0, 100))
def test_side_by_side_leaves_no_gap(sizes, start):
    blocks = [block(f"b{i}", units) for i, units in enumerate(sizes)]
    slots = place_side_by_side(blocks, range(len(blocks)), start)
    ends = [start, *(slots[i].end for i in range(len(blocks)))]
    assert [slots[i].offset for i in range(len(blocks))] == ends[:-1]
    assert ends[-1] == start + sum(b.nbytes for b in blocks)


@st.composite
def rings(draw):
    """Blocks, and a ring for any two in a row or somewhat more."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=12))
    blocks = [block(f"b{i}", units) for i, units in enumerate(sizes)]
    two = max(blocks[a].nbytes + blocks[b].nbytes for a, b in neighbours(range(len(blocks))))
    return blocks, two + 512 * draw(st.integers(0, 20))


@given(rings(), st.integers(0, 1 << 20))
def test_neighbours_share_no_byte_if_their_number_is_even_or_some_three_fit(ring, start):
    blocks, nbytes = ring
    count = len(blocks)
    slots = place_in_ring(blocks, range(count), start, nbytes)
    assert all(start <= slots[i].offset and slots[i].end <= start + nbytes for i in range(count))
    three = [sum(blocks[(i + k) % count].nbytes for k in range(3)) for i in range(count)]
    if count % 2 == 0 or min(three) <= nbytes:
        assert crowded(range(count), slots) == []
    else:
        assert crowded(range(count), slots) in ([], [(count - 1, 0)])


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.data())
def test_a_ring_for_one_block_is_enough(sizes, data):
    blocks = [block(f"b{i}", units) for i, units in enumerate(sizes)]
    turns = data.draw(st.lists(st.sampled_from(range(len(sizes))), min_size=1, max_size=20))
    nbytes = max(blocks[i].nbytes for i in turns)
    slots = place_in_ring(blocks, turns, 512, nbytes)
    assert slots.keys() == set(turns)
    assert all(slot.offset >= 512 and slot.end <= 512 + nbytes for slot in slots.values())


@pytest.mark.parametrize("room", [2, 3, 4, 5])
def test_equal_blocks_take_turns_in_the_ring(room):
    # As many blocks as the ring holds are there together, so each may arrive while room - 1 others run.
    blocks = equal(room * 3)
    slots = place_in_ring(blocks, range(len(blocks)), 0, room * 512)
    for turn in range(len(blocks)):
        together = [slots[i].offset for i in range(turn, min(turn + room, len(blocks)))]
        assert len(set(together)) == len(together)


def test_three_equal_blocks_in_a_ring_of_two_wait_once_a_step():
    slots = place_in_ring(equal(3), range(3), 0, 2 * 512)
    assert crowded(range(3), slots) == [(2, 0)]
