"""On the device: from a block's packed form, where it landed or where it stays, to the weights in its slot."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from streamer.plan import Plan
from streamer.plan.packed import InflatedSizes
from streamer.sources.inflated import InflatedSections
from streamer.tiers.arena import Arena
from streamer.tiers.expand import Expander


class Unpacker:
    """Expands packed blocks within the slab. One block at a time: its user locks, and keeps to one stream.

    Args:
        plan: of the blocks.
        arena: with the slots, the packed forms that stay, the landing area and the scratch memory.
        dtype: of the weights.
    """

    def __init__(self, plan: Plan, arena: Arena, dtype: torch.dtype) -> None:
        self._plan = plan
        self._arena = arena
        self._dtype = dtype
        self._expander = Expander(arena.part(plan.scratch).device)
        self._kept: dict[int, tuple[InflatedSizes | None, ...]] = {}

    def holds(self, block: int) -> bool:
        """Whether the block's packed form is on the device, to stay."""
        return block in self._kept

    def arrival(self, block: int) -> torch.Tensor:
        """Where on the device the block's packed form is copied to, bytes."""
        place = self._plan.kept_slots.get(block, self._plan.landing)
        return self._arena.part(place)[: self._plan.upload_nbytes(block)]

    def unpack(self, block: int, sizes: Sequence[InflatedSizes | None]) -> None:
        """Enqueues, on the current stream, what writes the block's weights into its slot.

        Args:
            block: whose packed form is in its place, or will be when the stream comes to this.
            sizes: of each of its tensors, None for one that is dense; not needed for a block that is held.
        """
        form = self._plan.blocks[block].packed
        assert form is not None
        packed, scratch = self.arrival(block), self._arena.part(self._plan.scratch)
        sizes = self._kept.get(block) or sizes
        views = self._arena.views(self._plan, block, self._dtype)
        for view, place, found in zip(views, form.places, sizes, strict=True):
            memory = packed[place.offset : place.offset + place.nbytes]
            if found is None:
                view.view(-1).copy_(memory.view(self._dtype))
            else:
                self._expander.expand(InflatedSections.within(memory, found), view, scratch)
        if block in self._plan.kept:
            self._kept[block] = tuple(sizes)
