"""A tensor on its lattice: offsets, scales and digits; what the lattice misses follows, band by band."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import block_length, deflate, lattice, layout
from lzr2.errors import EncodeError
from lzr2.threshold import Threshold

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]

_BAND_WEIGHTS = 1 << 17
_LENGTH_FIELDS_NBYTES = 12  # d, the length of the stream, the number of entries


@dataclass(frozen=True, eq=False)
class Lattice:
    """The three levels of every row, and which of them each weight is on.

    offset, scale: float32 [R]. levels: float16 patterns [R, 3]. digits: 0, 1 or 2 [R, N].
    """

    offset: F32
    scale: F32
    levels: U16
    digits: U8


@dataclass(frozen=True, eq=False)
class FittedTensor:
    """A tensor with its lattice fitted and compressed, and a threshold for the overlay."""

    shape: tuple[int, ...]
    d: int
    stream: bytes
    patterns: U16
    lattice: Lattice
    threshold: Threshold

    @property
    def overlay_count(self) -> int:
        """Number of overlay entries."""
        return self.threshold.count

    @property
    def entry_nbytes(self) -> int:
        """Bytes of each, 8 or 12."""
        return entry_nbytes(self.patterns, self.d)

    @property
    def nbytes(self) -> int:
        """Bytes of the payload."""
        return lattice_nbytes(self.patterns.shape[0], self.d, self.stream) + self.overlay_count * self.entry_nbytes

    def entries(self) -> Iterator[U32]:
        """The overlay entries as the file has them (uint32 words), in pieces valid until the next is asked for."""
        from lzr2 import misses

        wide = self.entry_nbytes != layout.NARROW_ENTRY_NBYTES
        words = np.empty(self.entry_nbytes // 4 * min(_BAND_WEIGHTS, self.patterns.size), np.uint32)
        ties = np.array([self.threshold.ties], np.int64)
        for rows, columns in _bands(*self.patterns.shape):
            n = misses.find_entries(
                self.patterns[rows, columns],
                self.lattice.levels[rows],
                self.lattice.digits[rows, columns],
                lattice.widening_table(),
                np.uint32(self.threshold.bits),
                ties,
                rows.start,
                columns.start,
                wide,
                words,
            )
            yield words[:n]


def patterns_of(tensor: npt.NDArray[Any], d: int | None) -> U16:
    """The tensor's float16 patterns as [rows, columns], a view where it is contiguous float16. Raises EncodeError."""
    if not isinstance(tensor, np.ndarray) or tensor.dtype.kind != "f":
        found = getattr(tensor, "dtype", type(tensor).__name__)
        raise EncodeError("tensor type", found=found, expected="a floating numpy array")
    if not 1 <= tensor.ndim <= layout.MAX_NDIM:
        advice = "Give it a shape of one to eight dimensions."
        raise EncodeError("number of dimensions", found=tensor.ndim, expected="1 to 8", advice=advice)
    if tensor.size > layout.MAX_WEIGHTS:
        raise EncodeError("tensor too large", found=tensor.shape, expected="at most 2^33 weights")
    if d is not None and (not isinstance(d, (int, np.integer)) or not 1 <= d <= 10):
        raise EncodeError("block length d", found=repr(d), expected="1 to 10")
    with np.errstate(all="ignore"):
        half = np.ascontiguousarray(tensor, np.float16)
    return half.view(np.uint16).reshape(layout.rows_and_columns(tensor.shape))


def exact_lattice(patterns: U16) -> tuple[Lattice, int]:
    """Levels that equal as many weights as can be found, and how many they miss."""
    from lzr2 import fit

    offset, scale = np.zeros(len(patterns), np.float32), np.ones(len(patterns), np.float32)
    fit.fit_exact(patterns, lattice.widening_table(), offset, scale)
    return _assigned(patterns, offset, scale, exact=True)


def nearest_lattice(patterns: U16, limit: float) -> Lattice:
    """Levels that leave the least squared error, if the overlay takes what they miss by more than `limit`."""
    from lzr2 import nearest

    offset, scale = np.zeros(len(patterns), np.float32), np.ones(len(patterns), np.float32)
    nearest.fit_nearest(patterns, lattice.widening_table(), limit, offset, scale)
    return lattice_of(patterns, offset, scale)


def lattice_of(patterns: U16, offset: F32, scale: F32) -> Lattice:
    """Each weight on the nearest of its row's levels."""
    return _assigned(patterns, offset, scale, exact=False)[0]


def _assigned(patterns: U16, offset: F32, scale: F32, *, exact: bool) -> tuple[Lattice, int]:
    from lzr2 import fit, kernels

    values = lattice.row_levels(offset, scale)
    levels, digits = np.empty(values.shape, np.uint16), np.empty(patterns.shape, np.uint8)
    kernels.round_to_half(values.reshape(-1).view(np.uint32), levels.reshape(-1))
    missed = fit.assign(patterns, levels, lattice.widening_table(), exact, digits)
    return Lattice(offset, scale, levels, digits), int(missed)


def compressed(digits: U8, d: int, overlay_nbytes: int = 0) -> bytes:
    """The zlib stream of the digits, stored where readers would take a smaller one for a bomb.

    overlay_nbytes: of the entries that are sure to be in the file beside it.
    """
    indices = block_length.raw(block_length.packed(digits, d))
    stream = deflate.compress(indices)
    others = layout.tables_nbytes(len(digits), d) + overlay_nbytes
    if 2 * digits.size > layout.max_allocation_nbytes(others + len(stream)):
        stream = deflate.store(indices)
    return stream


def lossless(shape: tuple[int, ...], patterns: U16, d: int | None) -> FittedTensor:
    """All that the lattice misses goes into the overlay."""
    found, misses = exact_lattice(patterns)
    return on_lattice(shape, patterns, found, Threshold(0, 0, misses), d)


def on_lattice(shape: tuple[int, ...], patterns: U16, found: Lattice, chosen: Threshold, d: int | None) -> FittedTensor:
    """The tensor on this lattice with these entries. d: None takes what makes the record smallest."""
    d = d or block_length.cheapest(found.digits, chosen.count)
    stream = compressed(found.digits, d, chosen.count * entry_nbytes(patterns, d))
    return FittedTensor(shape, d, stream, patterns, found, chosen)


def smallest(patterns: U16, found: Lattice, entries: int, d: int | None) -> tuple[int, bytes]:
    """The d, of all if none is given, and the stream that need the fewest bytes with so many entries.

    Memory: 2 bytes a weight, and the stream twice.
    """
    best, least = (1, b""), math.inf
    for one in (d,) if d else block_length.D_CHOICES:
        stream = compressed(found.digits, one)
        nbytes = lattice_nbytes(len(patterns), one, stream) + entries * entry_nbytes(patterns, one)
        if nbytes < least:
            best, least = (one, stream), nbytes
    return best


def lattice_nbytes(n_rows: int, d: int, stream: bytes) -> int:
    """Bytes of a payload without overlay."""
    return _LENGTH_FIELDS_NBYTES + layout.tables_nbytes(n_rows, d) + len(stream)


def entry_nbytes(patterns: U16, d: int) -> int:
    """Bytes of an overlay entry of this tensor."""
    return layout.entry_nbytes(patterns.shape[0], layout.blocks_needed(patterns.shape[1], d), d)


def _bands(n_rows: int, n_columns: int) -> Iterator[tuple[slice, slice]]:
    """Whole rows, or pieces of one row: contiguous bands of at most _BAND_WEIGHTS, in order."""
    width = max(1, min(n_columns, _BAND_WEIGHTS))
    height = max(1, _BAND_WEIGHTS // width) if width == n_columns else 1
    for row in range(0, n_rows, height):
        for column in range(0, n_columns, width):
            yield slice(row, min(row + height, n_rows)), slice(column, min(column + width, n_columns))
