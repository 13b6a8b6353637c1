"""How a budget is divided: what must stay, what may stay, and the ring through which the rest streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamer.errors import BudgetError
from streamer.plan.alignment import ALIGNMENT
from streamer.plan.block import Block
from streamer.plan.order import neighbours, streamed_turns
from streamer.plan.residency import keep_order


@dataclass(frozen=True)
class Division:
    """One budget, divided.

    Attributes:
        resident: blocks that stay, dense, pinned ones included.
        ring_nbytes: for the other blocks; 0 when there are none. A multiple of `ALIGNMENT`.
        kept: blocks that stay in their packed form, and are expanded into the ring at each turn.
        packed: blocks that move in their packed form, kept ones included.
        landing_nbytes: where packed blocks that aren't kept arrive, before they are expanded.
        scratch_nbytes: that expanding works in.
    """

    resident: frozenset[int]
    ring_nbytes: int
    kept: frozenset[int] = frozenset()
    packed: frozenset[int] = frozenset()
    landing_nbytes: int = 0
    scratch_nbytes: int = 0


def smallest_budget(blocks: Sequence[Block]) -> int:
    """The fewest bytes that a plan can work with: all that is pinned, and the largest of the rest."""
    pinned = sum(b.nbytes for b in blocks if b.pinned)
    return pinned + max((b.nbytes for b in blocks if not b.pinned), default=0)


def divide(blocks: Sequence[Block], order: Sequence[int], budget_nbytes: int) -> Division:
    """The largest resident set, of those in `keep_order`, that leaves a ring for any two blocks that follow each other.

    A larger budget keeps a superset. What streams in a step exceeds the least that any plan can stream, which is all
    that has turns less the budget, by less than one block (the next to be kept) and the ring it would leave.

    Below the budget that such a ring needs, nothing stays and all that is left is the ring: keeping something
    there would make a slightly larger budget stream more.

    Raises:
        BudgetError: not even the largest block fits; carries the smallest budget that works.
    """
    smallest = smallest_budget(blocks)
    if budget_nbytes < smallest:
        largest = max((b for b in blocks if not b.pinned), key=lambda b: b.nbytes, default=blocks[0])
        raise BudgetError(budget_nbytes, smallest, largest.name, "budget")
    pinned = frozenset(i for i, b in enumerate(blocks) if b.pinned)
    candidates = keep_order(blocks, order)
    without_turn = frozenset(range(len(blocks))) - pinned - frozenset(candidates)
    # Whole units only: a slot at the end of the ring has to be aligned too.
    room = (budget_nbytes - sum(blocks[i].nbytes for i in pinned)) // ALIGNMENT * ALIGNMENT
    for need in needs(blocks, order):
        if need.nbytes <= room:
            resident = pinned.union(candidates[: need.count])
            # What is left over makes the ring longer: more of what comes next can be on its way.
            arriving = sum(blocks[i].nbytes for i in set(streamed_turns(order, resident)) | without_turn)
            return Division(resident, min(room - need.kept_nbytes, arriving))
    return Division(pinned, room)


@dataclass(frozen=True)
class Need:
    """What keeping the first ``count`` blocks of `keep_order` needs, besides all that is pinned.

    Attributes:
        count: of blocks kept.
        kept_nbytes: they take.
        ring_nbytes: of the shortest ring for the rest.
    """

    count: int
    kept_nbytes: int
    ring_nbytes: int

    @property
    def nbytes(self) -> int:
        """Both together."""
        return self.kept_nbytes + self.ring_nbytes


def needs(blocks: Sequence[Block], order: Sequence[int]) -> Iterator[Need]:
    """What each number of kept blocks needs, all of them first, none last."""
    pinned = frozenset(i for i, b in enumerate(blocks) if b.pinned)
    candidates = keep_order(blocks, order)
    without_turn = frozenset(range(len(blocks))) - pinned - frozenset(candidates)
    least_ring = max((blocks[i].nbytes for i in without_turn), default=0)
    kept_nbytes = sum(blocks[i].nbytes for i in candidates)
    for count in range(len(candidates), -1, -1):
        streamed = streamed_turns(order, pinned.union(candidates[:count]))
        yield Need(count, kept_nbytes, max(ring_for_two(blocks, streamed), least_ring))
        if count:
            kept_nbytes -= blocks[candidates[count - 1]].nbytes


def ring_for_two(blocks: Sequence[Block], streamed: Sequence[int]) -> int:
    """Bytes of the largest two streamed blocks that follow each other, the wrap to the next step included."""
    if len(set(streamed)) < 2:
        return max((blocks[i].nbytes for i in streamed), default=0)
    return max(blocks[a].nbytes + blocks[b].nbytes for a, b in neighbours(streamed) if a != b)
