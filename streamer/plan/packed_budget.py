"""How a budget is divided where blocks can move and stay in their packed form, and be expanded on the device.

Room goes first to what saves most movement for each byte: a block that is kept in the form in which it would move saves
as many bytes a step as it takes. Only when every block stays is what is left spent on keeping some of them dense, which
saves no movement, but their expansion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from streamer.plan.alignment import ALIGNMENT
from streamer.plan.block import Block
from streamer.plan.budget import Division, divide, ring_for_two
from streamer.plan.order import streamed_turns
from streamer.plan.packed import scratch_nbytes
from streamer.plan.residency import keep_order


def divide_best(blocks: Sequence[Block], order: Sequence[int], budget_nbytes: int) -> Division:
    """Of the two divisions, with packed blocks and without, the one that moves fewer bytes in a step.

    Each of the two moves fewer bytes, or as many, with a larger budget, so this does too. Where they move as many, it
    is the one without: nothing has to be expanded.

    Raises:
        BudgetError: not even the largest block fits, dense; carries the smallest budget that works.
    """
    dense = divide(blocks, order, budget_nbytes)
    packed = divide_packed(blocks, order, budget_nbytes)
    if packed is None or moved_nbytes(blocks, order, dense) <= moved_nbytes(blocks, order, packed):
        return dense
    return packed


def divide_packed(blocks: Sequence[Block], order: Sequence[int], budget_nbytes: int) -> Division | None:
    """The division that keeps most, as `divide` does, if every block that can be packed is; None if it doesn't fit.

    A larger budget keeps a superset, and of the blocks that it keeps a superset dense.
    """
    pinned = frozenset(i for i, b in enumerate(blocks) if b.pinned)
    candidates = keep_order(blocks, order)
    packable = frozenset(i for i in candidates if blocks[i].packed is not None)
    if not packable:
        return None
    room = (budget_nbytes - sum(blocks[i].nbytes for i in pinned)) // ALIGNMENT * ALIGNMENT
    without_turn = frozenset(range(len(blocks))) - pinned - frozenset(candidates)
    for kept, dense in _choices(candidates, packable):
        resident = pinned | dense
        turns = streamed_turns(order, resident)
        expanded = packable - dense
        landing, scratch = _workspace(blocks, expanded, kept)
        taken = sum(blocks[i].nbytes for i in dense) + sum(_packed_nbytes(blocks[i]) for i in kept) + landing + scratch
        arriving = sum(blocks[i].nbytes for i in without_turn.union(turns))
        largest = max((blocks[i].nbytes for i in without_turn), default=0)
        if taken + max(ring_for_two(blocks, turns), largest) <= room:
            return Division(resident, min(room - taken, arriving), kept, expanded, landing, scratch)
    # As in `divide`: below the budget for a ring of two nothing stays.
    landing, scratch = _workspace(blocks, packable, frozenset())
    ring = room - landing - scratch
    if ring < max(blocks[i].nbytes for i in without_turn.union(candidates)):
        return None
    return Division(pinned, ring, frozenset(), packable, landing, scratch)


def moved_nbytes(blocks: Sequence[Block], order: Sequence[int], division: Division) -> int:
    """Bytes that arrive on the device in each step after the first."""
    turns = streamed_turns(order, division.resident | division.kept)
    return sum(_packed_nbytes(blocks[i]) if i in division.packed else blocks[i].nbytes for i in turns)


def _choices(candidates: Sequence[int], packable: frozenset[int]) -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """What is kept packed and what dense, each choice needing less room than the one before."""
    for count in range(len(candidates), -1, -1):
        dense = frozenset(candidates[:count]) | (frozenset(candidates) - packable)
        yield packable - dense, dense
    for count in range(len(candidates) - 1, -1, -1):
        kept = frozenset(candidates[:count])
        yield kept & packable, kept - packable


def _workspace(blocks: Sequence[Block], expanded: Iterable[int], kept: frozenset[int]) -> tuple[int, int]:
    """Bytes of the landing area and of the scratch memory."""
    expanded = frozenset(expanded)
    landing = max((_packed_nbytes(blocks[i]) for i in expanded - kept), default=0)
    return landing, scratch_nbytes(max(blocks[i].nbytes for i in expanded)) if expanded else 0


def _packed_nbytes(block: Block) -> int:
    return block.packed.nbytes if block.packed is not None else block.nbytes
