"""Inflated tensor -> weights, by torch operations on whichever device it lies: bit for bit what `lzr2` decodes.

Nothing is allocated: every step writes into scratch memory that the caller gives, so a stream can run it while others
use the allocator, and the memory it takes is known beforehand. Values are moved as patterns and never computed.
"""

from __future__ import annotations

import torch

from streamer.plan.packed import EXPAND_INDEX_NBYTES, EXPAND_ROW_NBYTES, LEAST_SCRATCH_NBYTES
from streamer.sources.inflated import InflatedSections

_GROUP = 4  # digits looked up at once: four values are one 64-bit number
_ENTRIES = 3**_GROUP


class Expander:
    """Expands inflated tensors on one device. Keeps a table of 1.3 KB there.

    Args:
        device: on which the tensors lie.
    """

    def __init__(self, device: torch.device) -> None:
        entry, place = (torch.arange(count, device="cpu") for count in (_ENTRIES, _GROUP))
        digits = entry[:, None] // 3 ** (_GROUP - 1 - place) % 3
        self._digits = digits.reshape(-1).to(torch.int32).to(device)

    def expand(self, sections: InflatedSections, out: torch.Tensor, scratch: torch.Tensor) -> None:
        """Writes the tensor's values: enqueues the work on the current stream and returns.

        Args:
            sections: on the device.
            out: contiguous, of as many elements; float16 gets every pattern as it is, another type the float16 values
                as `torch.Tensor.to` casts them.
            scratch: bytes (uint8) on the device, aligned to 8 bytes, at least `LEAST_SCRATCH_NBYTES`; the more, the
                fewer operations.
        """
        if scratch.numel() < LEAST_SCRATCH_NBYTES:
            raise ValueError(f"{scratch.numel()} bytes of scratch memory, at least {LEAST_SCRATCH_NBYTES} are needed")
        sizes = sections.sizes
        if not sizes.weights:
            return
        rows = _as_patterns(out).view(sizes.rows, sizes.columns)
        needed = min(sizes.blocks, -(-sizes.columns // sizes.d))
        reached = min(needed * sizes.d, sizes.columns)
        if reached:
            self._expand_lattice(sections, sections.indices[:, :needed], rows, scratch)
        if reached < sizes.columns:
            rows[:, reached:].copy_(_like(sections.levels[:, 1:2], rows).expand(-1, sizes.columns - reached))
        _put_overlay(sections, rows.view(-1), scratch)

    def _expand_lattice(
        self, sections: InflatedSections, indices: torch.Tensor, rows: torch.Tensor, scratch: torch.Tensor
    ) -> None:
        """Bands of rows, and where a row is too long for the scratch memory, spans of its blocks."""
        d, (n_rows, n_blocks) = sections.sizes.d, indices.shape
        span = min(n_blocks, (scratch.numel() - EXPAND_ROW_NBYTES) // EXPAND_INDEX_NBYTES)
        band = min(n_rows, scratch.numel() // (EXPAND_ROW_NBYTES + EXPAND_INDEX_NBYTES * span))
        for first in range(0, n_rows, band):
            end = min(first + band, n_rows)
            memory = _Scratch(scratch, end - first, span)
            torch.index_select(sections.levels[first:end], 1, self._digits, out=memory.table)
            starts = memory.starts
            torch.arange(0, (end - first) * _ENTRIES, _ENTRIES, out=starts, device=starts.device)
            for block in range(0, n_blocks, span):
                last = min(block + span, n_blocks)
                columns = slice(block * d, min(last * d, sections.sizes.columns))
                _expand_band(indices[first:end, block:last], d, rows[first:end, columns], memory)


class _Scratch:
    """The scratch memory for so many rows and blocks, divided."""

    def __init__(self, memory: torch.Tensor, rows: int, blocks: int) -> None:
        self._memory = memory
        self._at = 0
        self._count = rows * blocks
        self._values = self._take(self._count, torch.int64)
        self._table = self._take(rows * _ENTRIES, torch.int64)
        self._index = self._take(self._count, torch.int32)
        self._place = self._take(self._count, torch.int32)
        self.starts = self._take(rows, torch.int32)
        self.table = self._table.view(torch.int16).view(rows, _ENTRIES * _GROUP)
        self.rows = rows

    def _take(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        start, self._at = self._at, self._at + count * dtype.itemsize
        return self._memory[start : self._at].view(dtype)

    def for_blocks(self, blocks: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Index, place in the table and values of so many blocks a row."""
        count = self.rows * blocks
        index, place = (part[:count].view(self.rows, blocks) for part in (self._index, self._place))
        return index, place, self._values[:count]

    def look_up(self, place: torch.Tensor, values: torch.Tensor) -> None:
        """Four values for each place."""
        torch.index_select(self._table, 0, place.view(-1), out=values)


def _expand_band(indices: torch.Tensor, d: int, out: torch.Tensor, memory: _Scratch) -> None:
    """Writes the columns of these blocks: four digits at a time, the last four of each block first."""
    n_rows, n_blocks = indices.shape
    index, place, values = memory.for_blocks(n_blocks)
    index.copy_(indices)
    index.bitwise_and_(0xFFFF)
    whole, cut = divmod(out.shape[1], d)  # the row's end may cut the last block
    whole_blocks = out[:, : whole * d].unflatten(1, (whole, d)) if whole else None
    quads = _like(values.view(torch.int16), out).view(n_rows, n_blocks, _GROUP)
    for end in range(d, 0, -_GROUP):
        start = max(0, end - _GROUP)
        torch.remainder(index, _ENTRIES, out=place)
        place.add_(memory.starts[:, None])
        memory.look_up(place, values)
        skipped = _GROUP - (end - start)
        if whole_blocks is not None:
            whole_blocks[:, :, start:end].copy_(quads[:, :whole, skipped:])
        if cut > start:
            kept = min(end, cut)
            out[:, whole * d + start : whole * d + kept].copy_(quads[:, whole, skipped : skipped + kept - start])
        if start:
            index.floor_divide_(_ENTRIES)


def _put_overlay(sections: InflatedSections, flat: torch.Tensor, scratch: torch.Tensor) -> None:
    """Entries replace values. No place comes twice, so the order in which a device writes them doesn't matter."""
    values = _like(sections.values, flat)
    itemsize = flat.dtype.itemsize
    most = scratch.numel() // (8 + itemsize)
    for first in range(0, values.numel(), most):
        part = slice(first, min(first + most, values.numel()))
        count = part.stop - first
        positions = scratch[: 8 * count].view(torch.int64)
        positions.copy_(sections.positions[part])
        cast = values[part]
        if cast.dtype != flat.dtype:
            cast = scratch[8 * count : (8 + itemsize) * count].view(flat.dtype)
            cast.copy_(values[part])
        flat.index_copy_(0, positions, cast)


def _as_patterns(out: torch.Tensor) -> torch.Tensor:
    """The output as what is moved into it: float16 as patterns, so that not even a NaN changes."""
    return out.view(torch.int16) if out.dtype == torch.float16 else out


def _like(patterns: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Patterns as they are to be copied into the output: as they are, or as float16 that is cast."""
    return patterns if out.dtype == torch.int16 else patterns.view(torch.float16)
