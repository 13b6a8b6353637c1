"""The one slab of device memory in which all weights of a streamed module lie."""

from __future__ import annotations

import torch

from streamer.plan import Plan, Slot
from streamer.plan.alignment import ALIGNMENT


class Arena:
    """A slab allocated once; every weight on the device lies in it, so the slab's size is the bound.

    Args:
        nbytes: of the slab.
        device: on which it lies.
    """

    def __init__(self, nbytes: int, device: torch.device) -> None:
        # A host allocator aligns to 64 bytes only; the few bytes more hold no weights.
        padding = ALIGNMENT if device.type == "cpu" else 0
        raw = torch.empty(nbytes + padding, dtype=torch.uint8, device=device)
        start = -raw.data_ptr() % ALIGNMENT if padding else 0
        self._slab: torch.Tensor | None = raw[start : start + nbytes]
        self.nbytes = nbytes

    def views(self, plan: Plan, block: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """The block's tensors as views of its slot, in the order of the plan's block; nothing is copied.

        Raises:
            ValueError: the slot lies outside the slab, or the arena was closed.
        """
        return tensor_views(self.slot(plan, block), plan, block, dtype)

    def slot(self, plan: Plan, block: int) -> torch.Tensor:
        """The block's slot as bytes."""
        return self.part(plan.slots[block])

    def part(self, slot: Slot) -> torch.Tensor:
        """A range of the slab as bytes.

        Raises:
            ValueError: it lies outside the slab, or the arena was closed.
        """
        if self._slab is None:
            raise ValueError("the arena was closed")
        if slot.end > self.nbytes:
            raise ValueError(f"{slot} is not within an arena of {self.nbytes} bytes")
        return self._slab[slot.offset : slot.end]

    def close(self) -> None:
        """Lets go of the slab; its memory returns when no view is left."""
        self._slab = None


def tensor_views(memory: torch.Tensor, plan: Plan, block: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The block's tensors as views of a piece of memory of the block's size.

    Args:
        memory: bytes (uint8), at least the block's.
        plan: that the block is of.
        block: its number.
        dtype: of the weights.
    """
    return tuple(
        memory[place.offset : place.offset + place.nbytes].view(dtype).view(place.shape)
        for place in plan.blocks[block].tensors
    )
