"""The plan: for a list of blocks, their order and a budget, what stays, what streams, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from streamer.plan.block import Block
from streamer.plan.budget import Division
from streamer.plan.order import neighbours, streamed_turns
from streamer.plan.packed_budget import divide_best, moved_nbytes
from streamer.plan.placement import Slot, crowded, place_in_ring, place_side_by_side


@dataclass(frozen=True)
class Plan:
    """Everything that the runtime needs to know before the first byte moves.

    Attributes:
        blocks: all, in the caller's numbering.
        order: the block of each turn of one step; blocks without a turn are loaded on demand.
        division: of the budget: which blocks stay dense, which packed, and which move packed.
        slots: of each block, by its number, for its weights.
        kept_slots: of each block that stays packed, for its packed form.
        landing: where the packed form of the other blocks arrives, one at a time.
        scratch: what expanding works in.
        arena_nbytes: of the slab; never above the budget.
        budget_nbytes: that it was made for.
        double_buffered: every block that streams can arrive while the one before it in the stream runs, the first of
            a step while the last of the step before does.
    """

    blocks: tuple[Block, ...]
    order: tuple[int, ...]
    division: Division
    slots: tuple[Slot, ...]
    kept_slots: Mapping[int, Slot]
    landing: Slot
    scratch: Slot
    arena_nbytes: int
    budget_nbytes: int
    double_buffered: bool

    @cached_property
    def pinned(self) -> tuple[int, ...]:
        """Blocks that must always stay."""
        return tuple(i for i, block in enumerate(self.blocks) if block.pinned)

    @property
    def resident(self) -> frozenset[int]:
        """Blocks whose weights stay once loaded."""
        return self.division.resident

    @property
    def kept(self) -> frozenset[int]:
        """Blocks that stay in their packed form once loaded, and are expanded at each turn."""
        return self.division.kept

    @property
    def packed(self) -> frozenset[int]:
        """Blocks that come to the device in their packed form: those that are kept so, and others."""
        return self.division.packed

    @cached_property
    def streamed(self) -> tuple[int, ...]:
        """The blocks that arrive during each step, by turn."""
        return streamed_turns(self.order, self.resident | self.kept)

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
        """Of the blocks that stay, in the form in which they do."""
        dense = sum(self.blocks[i].nbytes for i in self.resident)
        return dense + sum(slot.nbytes for slot in self.kept_slots.values())

    @property
    def streamed_nbytes(self) -> int:
        """That are copied to the device in each step after the first."""
        return moved_nbytes(self.blocks, self.order, self.division)

    def upload_nbytes(self, block: int) -> int:
        """That are copied to the device when the block comes."""
        packed = self.blocks[block].packed
        return packed.nbytes if packed is not None and block in self.packed else self.blocks[block].nbytes


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
    division = divide_best(blocks, order, budget_nbytes)
    slots = place_side_by_side(blocks, sorted(division.resident), 0)
    end = sum(slot.nbytes for slot in slots.values())
    kept_slots: dict[int, Slot] = {}
    for i in sorted(division.kept):
        packed = blocks[i].packed
        assert packed is not None
        kept_slots[i] = Slot(end, packed.nbytes)
        end = kept_slots[i].end
    landing = Slot(end, division.landing_nbytes)
    scratch = Slot(landing.end, division.scratch_nbytes)
    ring_start = scratch.end
    ring = streamed_turns(order, division.resident)
    slots |= place_in_ring(blocks, ring, ring_start, division.ring_nbytes)
    on_demand = [i for i in range(len(blocks)) if i not in slots]
    slots |= {i: Slot(ring_start, blocks[i].nbytes) for i in on_demand}
    return Plan(
        blocks=tuple(blocks),
        order=tuple(order),
        division=division,
        slots=tuple(slots[i] for i in range(len(blocks))),
        kept_slots=kept_slots,
        landing=landing,
        scratch=scratch,
        arena_nbytes=max((slot.end for slot in slots.values()), default=0),
        budget_nbytes=budget_nbytes,
        double_buffered=not crowded(ring, slots),
    )
