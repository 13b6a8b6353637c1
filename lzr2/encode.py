"""Array -> EncodedTensor: lossless, or under an overlay, error or size target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import deflate, lattice, layout
from lzr2.errors import EncodeError
from lzr2.record import EncodedTensor

_D_CHOICES = (8, 10, 6, 5, 4, 3, 2, 1)
_AS_GOOD = 1.005
_SAMPLE_WEIGHTS = 1 << 18
_BAND_WEIGHTS = 1 << 17
_REFITS = 2
_SAMPLE_ROWS = 64
_INFINITE_ERROR = 0x7F800000
_NO_LIMIT = np.float32(np.inf)


@dataclass(frozen=True, slots=True)
class Target:
    """What to keep: everything (all None), or one limit.

    overlay_fraction: share of the weights in the overlay, 0 to 1. max_error: largest absolute error a weight
    may keep. nbytes: size of the payload. The errors are those against the tensor as float16.
    """

    overlay_fraction: float | None = None
    max_error: float | None = None
    nbytes: int | None = None

    def __post_init__(self) -> None:
        if sum(limit is not None for limit in (self.overlay_fraction, self.max_error, self.nbytes)) > 1:
            raise EncodeError("several targets", expected="one of overlay_fraction, max_error and nbytes")
        if self.overlay_fraction is not None and not 0 <= self.overlay_fraction <= 1:
            raise EncodeError("overlay_fraction", found=self.overlay_fraction, expected="0 to 1")
        if self.max_error is not None and not 0 <= self.max_error < math.inf:
            raise EncodeError("max_error", found=self.max_error, expected="a finite number from 0")
        if self.nbytes is not None and self.nbytes < 0:
            raise EncodeError("nbytes", found=self.nbytes, expected="a number from 0")

    @property
    def lossless(self) -> bool:
        """Whether there is no limit: every weight is kept."""
        return self.overlay_fraction is None and self.max_error is None and self.nbytes is None


@dataclass(frozen=True, eq=False)
class FittedTensor:
    """A tensor with its lattice fitted; the overlay follows, band by band, from what the lattice misses."""

    shape: tuple[int, ...]
    d: int
    offset: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    stream: bytes
    overlay_count: int
    patterns: npt.NDArray[np.uint16]
    levels: npt.NDArray[np.uint16]
    digits: npt.NDArray[np.uint8]
    threshold: np.uint32

    @property
    def wide(self) -> bool:
        """Whether overlay entries take 12 bytes instead of 8."""
        n_rows, n_columns = self.patterns.shape
        return layout.entry_nbytes(n_rows, layout.blocks_needed(n_columns, self.d), self.d) != 8

    def entries(self) -> Iterator[npt.NDArray[np.uint32]]:
        """The overlay entries as the file has them (uint32 words), in pieces valid until the next is asked for."""
        from lzr2 import fit

        words = np.empty((3 if self.wide else 2) * min(_BAND_WEIGHTS, self.patterns.size), np.uint32)
        for rows, columns in _bands(*self.patterns.shape):
            n = fit.find_entries(
                self.patterns[rows, columns],
                self.levels[rows],
                self.digits[rows, columns],
                lattice.widening_table(),
                self.threshold,
                rows.start,
                columns.start,
                self.wide,
                words,
            )
            yield words[:n]


def fit_tensor(tensor: npt.NDArray[Any], target: Target, d: int | None = None) -> FittedTensor:
    """The tensor's lattice under a target, with the number of overlay entries it leaves.

    tensor: floating, at least one dimension; taken as float16. d: 1 to 10; None takes what makes the record smallest.
    Memory: 1.5 bytes a weight besides the tensor (2 more if it isn't contiguous float16). Raises EncodeError.
    """
    patterns = _patterns(tensor, d)
    n_rows = patterns.shape[0]
    offset, scale = np.zeros(n_rows, np.float32), np.ones(n_rows, np.float32)
    digits = np.empty(patterns.shape, np.uint8)
    fitted = _fit_lossless if target.lossless else _fit_lossy
    levels, misses = fitted(patterns, digits, offset, scale, target)
    threshold = np.uint32(0)
    if not target.lossless:
        budget = _budget(patterns, target, 8, patterns.size // 4)
        threshold, misses = _threshold(patterns, levels, digits, budget, target)
    d = d or _cheapest_d(digits, misses)
    raw = _raw(_packed(digits, d))
    stream = deflate.compress(raw)
    if 2 * patterns.size > layout.max_allocation_nbytes(layout.tables_nbytes(n_rows, d) + len(stream)):
        stream = deflate.store(raw)
    if target.nbytes is not None:  # only now is it known what is left for the overlay
        budget = _budget(patterns, target, d, len(stream))
        threshold, misses = _threshold(patterns, levels, digits, budget, target)
    _check_kept(threshold)
    return FittedTensor(tensor.shape, d, offset, scale, stream, misses, patterns, levels, digits, threshold)


def encode(
    tensor: npt.NDArray[Any],
    *,
    d: int | None = None,
    overlay_fraction: float | None = None,
    max_error: float | None = None,
    nbytes: int | None = None,
) -> EncodedTensor:
    """The tensor as the sections of a record: exactly `tensor.astype(float16)` unless a target is given.

    tensor: floating [C, …]. d: 1 to 10. overlay_fraction, max_error, nbytes: see Target. Memory: up to 12 bytes a
    weight for the overlay (a writer that is given the array itself doesn't build it). Raises EncodeError.
    """
    fitted = fit_tensor(tensor, Target(overlay_fraction, max_error, nbytes), d)
    step = 3 if fitted.wide else 2
    words = np.concatenate([np.zeros(0, np.uint32), *(piece.copy() for piece in fitted.entries())])
    words = words.reshape(-1, step)
    rows, columns = (words[:, 0], words[:, 1]) if fitted.wide else (words[:, 0] & 0xFFFF, words[:, 0] >> 16)
    return EncodedTensor(
        shape=fitted.shape,
        d=fitted.d,
        offset=fitted.offset,
        scale=fitted.scale,
        indices=_packed(fitted.digits, fitted.d),
        overlay_rows=np.ascontiguousarray(rows),
        overlay_columns=np.ascontiguousarray(columns),
        overlay_values=np.ascontiguousarray(words[:, -1]).view(np.float32),
    )


def _patterns(tensor: npt.NDArray[Any], d: int | None) -> npt.NDArray[np.uint16]:
    if not isinstance(tensor, np.ndarray) or tensor.dtype.kind != "f":
        found = getattr(tensor, "dtype", type(tensor).__name__)
        raise EncodeError("tensor type", found=found, expected="a floating numpy array")
    if not 1 <= tensor.ndim <= layout.MAX_NDIM:
        advice = "Give it a shape of one to eight dimensions."
        raise EncodeError("number of dimensions", found=tensor.ndim, expected="1 to 8", advice=advice)
    if tensor.size > layout.MAX_WEIGHTS:
        raise EncodeError("tensor too large", found=tensor.shape, expected="at most 2^33 weights")
    if d is not None and not 1 <= d <= 10:
        raise EncodeError("block length d", found=d, expected="1 to 10")
    with np.errstate(all="ignore"):
        half = np.ascontiguousarray(tensor, np.float16)
    return half.view(np.uint16).reshape(layout.rows_and_columns(tensor.shape))


def _levels(offset: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    from lzr2 import kernels

    exact = lattice.row_levels(offset, scale)
    levels = np.empty(exact.shape, np.uint16)
    kernels.round_to_half(exact.reshape(-1).view(np.uint32), levels.reshape(-1))
    return levels


def _fit_lossless(
    patterns: npt.NDArray[np.uint16],
    digits: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    target: Target,
) -> tuple[npt.NDArray[np.uint16], int]:
    from lzr2 import fit

    fit.fit_exact(patterns, lattice.widening_table(), offset, scale)
    levels = _levels(offset, scale)
    return levels, int(fit.assign(patterns, levels, lattice.widening_table(), True, digits))


def _fit_lossy(
    patterns: npt.NDArray[np.uint16],
    digits: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    target: Target,
) -> tuple[npt.NDArray[np.uint16], int]:
    """Fits, sees which weights the overlay would take, and fits again without them."""
    from lzr2 import fit

    # Some of the rows tell well enough which errors the overlay would take.
    some = slice(None, None, max(1, patterns.shape[0] // _SAMPLE_ROWS))
    sample = np.ascontiguousarray(patterns[some])
    sample_digits = np.empty(sample.shape, np.uint8)
    share = _budget(patterns, target, 8, patterns.size // 4) / max(1, patterns.size)
    ignore_above = _NO_LIMIT
    for refit in range(1 + _REFITS):
        fit.fit_nearest(patterns, lattice.widening_table(), ignore_above, refit > 0, offset, scale)
        levels = _levels(offset[some], scale[some])
        fit.assign(sample, levels, lattice.widening_table(), False, sample_digits)
        threshold = _threshold(sample, levels, sample_digits, int(share * sample.size), target)[0]
        ignore_above = np.array([threshold], np.uint32).view(np.float32)[0]
        if not ignore_above > 0:
            break
    levels = _levels(offset, scale)
    return levels, int(fit.assign(patterns, levels, lattice.widening_table(), False, digits))


def _budget(patterns: npt.NDArray[np.uint16], target: Target, d: int, stream_nbytes: int) -> int:
    """How many overlay entries the target pays for."""
    n_rows, n_columns = patterns.shape
    if target.overlay_fraction is not None:
        return int(target.overlay_fraction * patterns.size)
    if target.nbytes is None:
        return patterns.size
    rest = target.nbytes - 12 - layout.tables_nbytes(n_rows, d) - stream_nbytes
    return max(0, rest) // layout.entry_nbytes(n_rows, layout.blocks_needed(n_columns, d), d)


def _threshold(
    patterns: npt.NDArray[np.uint16],
    levels: npt.NDArray[np.uint16],
    digits: npt.NDArray[np.uint8],
    budget: int,
    target: Target,
) -> tuple[np.uint32, int]:
    """The error (as a float32 pattern) above which weights go into the overlay, and how many do."""
    from lzr2 import fit

    upper = np.zeros(65_536, np.int64)
    fit.error_histogram(patterns, levels, digits, lattice.widening_table(), -1, upper)
    if target.max_error is not None:
        bits = int(_rounded_down(target.max_error).view(np.uint32))
    else:
        # Largest errors first; the whole bins that fit, then the part of the next one that does.
        above = np.concatenate([np.cumsum(upper[::-1])[::-1][1:], [0]])
        prefix = int(np.argmax(above <= budget))
        bits = -1
    prefix = bits >> 16 if bits >= 0 else prefix
    above_prefix = int(upper[prefix + 1 :].sum())
    lower = np.zeros(65_536, np.int64)
    fit.error_histogram(patterns, levels, digits, lattice.widening_table(), prefix, lower)
    above_lower = np.concatenate([np.cumsum(lower[::-1])[::-1][1:], [0]])
    low = bits & 0xFFFF if bits >= 0 else int(np.argmax(above_lower <= budget - above_prefix))
    return np.uint32(prefix << 16 | low), above_prefix + int(above_lower[low])


def _rounded_down(value: float) -> np.float32:
    """The largest float32 that isn't above the value: a limit is never exceeded."""
    nearest = np.float32(min(value, float(np.finfo(np.float32).max)))
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0))


def _check_kept(threshold: np.uint32) -> None:
    """Infinities and NaN are errors beyond every number; they may not end as one."""
    if threshold >= _INFINITE_ERROR:
        advice = "Give it a larger share or size."
        raise EncodeError("the overlay has no room for infinities and NaN", advice=advice)


def _bands(n_rows: int, n_columns: int) -> Iterator[tuple[slice, slice]]:
    """Whole rows, or pieces of one row: contiguous bands of at most _BAND_WEIGHTS, in order."""
    width = max(1, min(n_columns, _BAND_WEIGHTS))
    height = max(1, _BAND_WEIGHTS // width) if width == n_columns else 1
    for row in range(0, n_rows, height):
        for column in range(0, n_columns, width):
            yield slice(row, min(row + height, n_rows)), slice(column, min(column + width, n_columns))


def _packed(digits: npt.NDArray[np.uint8], d: int) -> npt.NDArray[np.uint16]:
    from lzr2 import fit

    indices = np.empty((digits.shape[0], layout.blocks_needed(digits.shape[1], d)), np.uint16)
    fit.pack(digits, d, indices)
    return indices


def _raw(indices: npt.NDArray[np.uint16]) -> memoryview:
    return indices.reshape(-1).view(np.uint8).data


def _cheapest_d(digits: npt.NDArray[np.uint8], overlay_count: int) -> int:
    """The d that makes the record smallest, judged by compressing some of the rows."""
    n_rows, n_columns = digits.shape
    if digits.size == 0:
        return 1
    every = max(1, digits.size // _SAMPLE_WEIGHTS)
    sample = np.ascontiguousarray(digits[:: min(every, n_rows)])

    def nbytes(d: int) -> float:
        stream = len(deflate.compress(_raw(_packed(sample, d)))) * n_rows / sample.shape[0]
        entry = layout.entry_nbytes(n_rows, layout.blocks_needed(n_columns, d), d)
        return float(stream + layout.tables_nbytes(n_rows, d) + overlay_count * entry)

    sizes = {d: nbytes(d) for d in _D_CHOICES}
    # The first of those that are as good as smallest: fastest to decode first.
    return next(d for d, size in sizes.items() if size <= min(sizes.values()) * _AS_GOOD)
