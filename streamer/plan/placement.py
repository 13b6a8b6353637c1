"""Where each block lies in the slab: offsets for the whole cycle, fixed before anything runs.

Resident blocks lie one after the other at the front. The blocks that stream share the ring behind them. A ring
offset is chosen so that the blocks it takes the place of have been finished for as long as possible: the longer ago,
the earlier the next block may start to arrive. Where that leaves neighbours that share bytes, the blocks go to the two
ends of the ring in turn instead, if that leaves fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streamer.plan.block import Block
from streamer.plan.order import neighbours


@dataclass(frozen=True)
class Slot:
    """A range of the slab, in bytes."""

    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """The first byte behind the slot."""
        return self.offset + self.nbytes

    def overlaps(self, other: Slot) -> bool:
        """Whether the two share a byte."""
        return max(self.offset, other.offset) < min(self.end, other.end)


def place_side_by_side(blocks: Sequence[Block], members: Iterable[int], start: int) -> dict[int, Slot]:
    """A slot for each member, one after the other from ``start``; none overlap."""
    slots: dict[int, Slot] = {}
    for i in members:
        slots[i] = Slot(start, blocks[i].nbytes)
        start += blocks[i].nbytes
    return slots


def place_in_ring(blocks: Sequence[Block], streamed: Sequence[int], start: int, ring_nbytes: int) -> dict[int, Slot]:
    """A slot for each streamed block.

    If the ring holds any two blocks that follow each other, and no block has two turns, then none that follow each
    other overlap where their number is even, or where the ring holds some three in a row; else only the last and the
    first do.

    Args:
        blocks: all of the plan.
        streamed: the blocks that arrive during a step, by turn.
        start: of the ring in the slab, bytes.
        ring_nbytes: of the ring; at least the largest streamed block.
    """
    slots = _longest_free(blocks, streamed, start, ring_nbytes)
    if crowded(streamed, slots):
        alternating = _alternating(blocks, streamed, start, ring_nbytes)
        if len(crowded(streamed, alternating)) < len(crowded(streamed, slots)):
            return alternating
    return slots


def crowded(streamed: Sequence[int], slots: Mapping[int, Slot]) -> list[tuple[int, int]]:
    """The pairs of blocks that follow each other and share bytes, so that the second has to wait for the first."""
    return [(a, b) for a, b in neighbours(streamed) if a != b and slots[a].overlaps(slots[b])]


def _alternating(blocks: Sequence[Block], streamed: Sequence[int], start: int, ring_nbytes: int) -> dict[int, Slot]:
    """Slots at the front and at the end of the ring in turn; of an odd number one lies between its neighbours."""
    turns = list(dict.fromkeys(streamed))
    middle: int | None = None
    if len(turns) % 2:
        # The three in a row that need least; the one in their middle becomes the last.
        three = [sum(blocks[turns[t - k]].nbytes for k in (2, 1, 0)) for t in range(len(turns))]
        best = three.index(min(three))
        if three[best] <= ring_nbytes:
            turns = turns[best:] + turns[:best]
            middle = turns[-1]
    end = start + ring_nbytes
    slots: dict[int, Slot] = {}
    for turn, i in enumerate(turns):
        nbytes = blocks[i].nbytes
        if i == middle:
            slots[i] = Slot(slots[turns[0]].end, nbytes)
        else:
            slots[i] = Slot(end - nbytes if turn % 2 else start, nbytes)
    return slots


def _longest_free(blocks: Sequence[Block], streamed: Sequence[int], start: int, ring_nbytes: int) -> dict[int, Slot]:
    """Slots whose most recent user is longest ago.

    Greedy, one turn after the other: of the offsets at the ring's ends and beside the slots placed before, the one
    whose most recent user is longest ago. An offset that leaves no room for the next block is passed over.
    """
    slots: dict[int, Slot] = {}
    last_use: dict[Slot, int] = {}  # the most recent turn of each range in use
    for turn, i in enumerate(streamed):
        if i not in slots:
            following = streamed[(turn + 1) % len(streamed)]
            wanted = 0 if following == i else blocks[following].nbytes
            fixed = slots.get(following)
            previous = slots[streamed[turn - 1]] if turn else None
            ring = Slot(start, ring_nbytes)
            slots[i] = _best_slot(blocks[i].nbytes, ring, previous, fixed, wanted, last_use)
        last_use[slots[i]] = turn
    return slots


def _best_slot(
    nbytes: int,
    ring: Slot,
    previous: Slot | None,
    following: Slot | None,
    following_nbytes: int,
    last_use: Mapping[Slot, int],
) -> Slot:
    """Of the offsets beside slots in use and at the ring's ends, the one free for longest that crowds no neighbour."""
    offsets = {ring.offset, ring.end - nbytes}
    for slot in last_use:
        offsets.update((slot.end, slot.offset - nbytes))
    ranked: list[tuple[bool, int, int]] = []
    for offset in offsets:
        slot = Slot(offset, nbytes)
        if offset < ring.offset or slot.end > ring.end:
            continue
        if following is not None:
            crowds = slot.overlaps(following)
        else:
            crowds = max(offset - ring.offset, ring.end - slot.end) < following_nbytes
        crowds = crowds or (previous is not None and slot.overlaps(previous))
        most_recent = max((turn for other, turn in last_use.items() if other.overlaps(slot)), default=-1)
        ranked.append((crowds, most_recent, offset))
    return Slot(min(ranked)[2], nbytes)
