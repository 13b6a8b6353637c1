"""Host memory that a block's tensors are written to, each in the form in which it goes to the device."""

from __future__ import annotations

import torch

from streamer.plan import Plan
from streamer.plan.packed import InflatedSizes
from streamer.sources.base import WeightSource


class InflatedTarget:
    """Where one tensor's inflated form is written.

    Args:
        memory: bytes (uint8) on the CPU, as many as the form can need.

    Attributes:
        sizes: of what was written; None before.
    """

    def __init__(self, memory: torch.Tensor) -> None:
        self.memory = memory
        self.sizes: InflatedSizes | None = None


Target = torch.Tensor | InflatedTarget
"""Where one tensor is written: its values, or its inflated form."""


def write(source: WeightSource, key: str, target: Target) -> None:
    """The tensor is read and written to the target.

    Raises:
        StreamerError: the file is damaged or has gone.
    """
    if isinstance(target, InflatedTarget):
        target.sizes = source.hold(key).write_inflated_into(target.memory)
    else:
        source.read_into(key, target)


def packed_targets(memory: torch.Tensor, plan: Plan, block: int, dtype: torch.dtype) -> tuple[Target, ...]:
    """A target for each of the block's tensors, together its packed form.

    Args:
        memory: bytes (uint8), at least as many as the packed form.
        plan: that the block is of.
        block: its number; it has a packed form.
        dtype: of the weights on the device.
    """
    form = plan.blocks[block].packed
    assert form is not None
    return tuple(
        dense_part(memory, part.offset, part.nbytes, place.shape, dtype)
        if part.inflated is None
        else InflatedTarget(memory[part.offset : part.offset + part.nbytes])
        for part, place in zip(form.places, plan.blocks[block].tensors, strict=True)
    )


def dense_part(
    memory: torch.Tensor, offset: int, nbytes: int, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    """A tensor as a view of a piece of memory."""
    return memory[offset : offset + nbytes].view(dtype).view(shape)
