"""The plan: for a list of blocks, their order and a budget, what stays, what streams, and where everything lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from streamer.plan.block import Block
from streamer.plan.budget import divide
from streamer.plan.order import neighbours, streamed_turns
from streamer.plan.placement import Slot, crowded, place_in_ring, place_side_by_side


@dataclass(frozen=True)
class Plan:
    """Everything that the runtime needs to know before the first byte moves.

    Attributes:
        blocks: all, in the caller's numbering.
        order: the block of each turn of one step; blocks without a turn are loaded on demand.
        resident: blocks that stay once loaded.
        slots: of each block, by its number.
        arena_nbytes: of the slab; never above the budget.
        budget_nbytes: that it was made for.
        double_buffered: every block that streams can arrive while the one before it in the stream runs, the first of
            a step while the last of the step before does.
    """

    blocks: tuple[Block, ...]
    order: tuple[int, ...]
    resident: frozenset[int]
    slots: tuple[Slot, ...]
    arena_nbytes: int
    budget_nbytes: int
    double_buffered: bool

    @cached_property
    def streamed(self) -> tuple[int, ...]:
        """The blocks that arrive during each step, by turn."""
        return streamed_turns(self.order, self.resident)

    @cached_property
    def overlapping(self) -> tuple[tuple[int, ...], ...]:
        """For each block the others that share bytes of the slab with it: all must be gone before it may arrive."""
        movable = [i for i in range(len(self.blocks)) if i not in self.resident]
        return tuple(
            tuple(j for j in movable if j != i and self.slots[i].overlaps(self.slots[j]))
            if i not in self.resident
            else ()
            for i in range(len(self.blocks))
        )

    @cached_property
    def loaded_next(self) -> dict[int, int]:
        """For each block with a turn the one that is loaded after it: of those that stream the next that does."""
        of_all, of_streamed = (dict(neighbours(turns)) for turns in (self.order, self.streamed))
        return of_all | of_streamed

    @property
    def total_nbytes(self) -> int:
        """Of all blocks on the device."""
        return sum(b.nbytes for b in self.blocks)

    @property
    def resident_nbytes(self) -> int:
        """Of the blocks that stay."""
        return sum(self.blocks[i].nbytes for i in self.resident)

    @property
    def streamed_nbytes(self) -> int:
        """That arrive on the device in each step after the first."""
        return sum(self.blocks[i].nbytes for i in self.streamed)


def make_plan(blocks: Sequence[Block], order: Sequence[int], budget_nbytes: int) -> Plan:
    """A plan whose slab is never larger than the budget, and in which no two blocks that are needed together overlap.

    Args:
        blocks: all blocks; pinned ones have no turn.
        order: the number of the block of each turn of one step.
        budget_nbytes: most bytes of the slab.

    Raises:
        BudgetError: the budget is below the smallest that works.
        ValueError: the order names a block that is pinned or isn't there.
    """
    for i in order:
        if not 0 <= i < len(blocks) or blocks[i].pinned:
            raise ValueError(f"turn of block {i}, which has none")
    division = divide(blocks, order, budget_nbytes)
    slots = place_side_by_side(blocks, sorted(division.resident), 0)
    ring_start = sum(slot.nbytes for slot in slots.values())
    ring = streamed_turns(order, division.resident)
    slots |= place_in_ring(blocks, ring, ring_start, division.ring_nbytes)
    on_demand = [i for i in range(len(blocks)) if i not in slots]
    slots |= {i: Slot(ring_start, blocks[i].nbytes) for i in on_demand}
    return Plan(
        blocks=tuple(blocks),
        order=tuple(order),
        resident=division.resident,
        slots=tuple(slots[i] for i in range(len(blocks))),
        arena_nbytes=max((slot.end for slot in slots.values()), default=0),
        budget_nbytes=budget_nbytes,
        double_buffered=not crowded(ring, slots),
    )
