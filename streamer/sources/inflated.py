"""An inflated tensor's sections in one piece of memory, on the host or on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streamer.plan.packed import InflatedSizes


@dataclass(frozen=True)
class InflatedSections:
    """Views of the memory in which one inflated tensor lies. All are patterns: torch can't compute with uint16.

    Attributes:
        sizes: of the tensor.
        indices: int16 [rows, blocks], the patterns of numbers without a sign: each d ternary digits, the highest
            first. Every one is legal.
        levels: int16 [rows, 3]: the patterns of the float16 values of a row's digits -1, 0 and 1.
        positions: int32 [n], flat, strictly increasing, within the tensor.
        values: int16 [n]: the patterns of their float16 values.
    """

    sizes: InflatedSizes
    indices: torch.Tensor
    levels: torch.Tensor
    positions: torch.Tensor
    values: torch.Tensor

    @classmethod
    def within(cls, memory: torch.Tensor, sizes: InflatedSizes) -> InflatedSections:
        """The sections of a tensor of these sizes; nothing is copied.

        Args:
            memory: bytes (uint8), at least as many as the sizes say, aligned to 8 bytes or more.
            sizes: of the tensor that lies or shall lie there.

        Raises:
            ValueError: there are too few bytes.
        """
        if memory.numel() < sizes.nbytes:
            raise ValueError(f"{memory.numel()} bytes for sections of {sizes.nbytes}")
        types = (torch.int16, torch.int16, torch.int32, torch.int16)
        indices, levels, positions, values = (
            memory[start:end].view(dtype) for (start, end), dtype in zip(sizes.sections, types, strict=True)
        )
        return cls(sizes, indices.view(sizes.rows, sizes.blocks), levels.view(sizes.rows, 3), positions, values)
