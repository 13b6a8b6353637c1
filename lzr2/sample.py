"""Some weights of a tensor, from which can be told beforehand what a limit or a size will come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import block_length, fitted, lattice, layout

U16 = npt.NDArray[np.uint16]

_WEIGHTS, _COLUMNS, _ROWS = 8192, 512, 64
_SMALLEST, _LARGEST = -26.0, 17.0  # errors of float16 numbers, as powers of two
_HALVINGS, _INTERPOLATIONS, _STEPS = 6, 2, 2
_NBYTES_ALWAYS = 12


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of a tensor, or parts of them. patterns: float16 patterns [r, n] of [n_rows, n_columns]."""

    patterns: U16
    n_rows: int
    n_columns: int

    @classmethod
    def of(cls, patterns: U16) -> Sample:
        """Rows at equal distances; of long ones, columns spread over all of them without regularity."""
        n_rows, n_columns = patterns.shape
        n = min(n_columns, _COLUMNS)
        r = min(n_rows, _ROWS, max(_WEIGHTS // _COLUMNS, _WEIGHTS // max(n, 1)))
        rows = patterns[np.arange(r) * n_rows // max(r, 1)]
        if n == n_columns:
            return cls(np.ascontiguousarray(rows), n_rows, n_columns)
        starts = np.arange(n + 1) * n_columns // n
        within = np.random.default_rng(0).random((r, n)) * np.diff(starts)
        columns = starts[:-1] + within.astype(np.int64)
        return cls(np.take_along_axis(rows, columns, axis=1), n_rows, n_columns)

    @property
    def share(self) -> float:
        """Weights of the tensor that each one here stands for."""
        return self.n_rows * self.n_columns / max(1, self.patterns.size)

    @property
    def entry_nbytes(self) -> int:
        """Bytes of an overlay entry, with the d that makes them fewest."""
        return layout.entry_nbytes(self.n_rows, self.n_columns, 1)

    def beyond(self, limit: float) -> float:
        """About how many weights of the tensor a lattice fitted for this limit misses by more."""
        from lzr2 import nearest

        r = len(self.patterns)
        offset, scale = np.empty(r, np.float32), np.empty(r, np.float32)
        outside = nearest.fit_nearest(self.patterns, lattice.widening_table(), limit, offset, scale)
        return self.share * int(outside)

    def left(self, limit: float, count: int) -> tuple[float, float]:
        """What a lattice fitted for this limit leaves when the tensor gets so many entries.

        Returns the squared error of these weights, and the largest error among those without an entry.
        """
        found = fitted.nearest_lattice(self.patterns, limit)
        widened = lattice.widening_table()
        levels = np.take_along_axis(widened[found.levels], found.digits.astype(np.intp), axis=1)
        with np.errstate(invalid="ignore"):
            errors = np.abs(widened[self.patterns].astype(np.float64) - levels).reshape(-1)
        errors = np.sort(np.where(np.isfinite(errors), errors, np.inf))
        kept = errors[: max(0, errors.size - round(count / max(self.share, 1e-9)))]
        return float(np.square(kept).sum()), float(kept[-1]) if kept.size else 0.0

    def missed(self) -> float:
        """About how many weights the lattice of a lossless record misses."""
        return self.share * fitted.exact_lattice(self.patterns)[1]

    def lossless_nbytes(self, d: int | None = None) -> float:
        """About how many bytes a lossless payload has."""
        found, misses = fitted.exact_lattice(self.patterns)
        return self._nbytes(found, misses * self.share, d)

    def lattice_nbytes(self, d: int | None = None) -> float:
        """About how many bytes a payload without overlay has."""
        return self._nbytes(fitted.nearest_lattice(self.patterns, math.inf), 0.0, d)

    def _nbytes(self, found: fitted.Lattice, entries: float, d: int | None) -> float:
        if not self.patterns.size:
            return float(_NBYTES_ALWAYS + layout.tables_nbytes(self.n_rows, d or 1))
        choices = (d,) if d else block_length.D_CHOICES
        sizes = block_length.expected_nbytes(found.digits, self.n_rows, self.n_columns, entries, choices)
        return _NBYTES_ALWAYS + min(sizes.values())


def limit_for(samples: Sequence[Sample], nbytes: float, in_turn: Callable[..., Iterable[Any]] = map) -> float:
    """The error beyond which weights will be in the overlay, if so many bytes are spent on entries where they buy most.

    For tensors with entries of 8 bytes: an entry of 12 has to remove half as much squared error again (`limit_of`).
    in_turn: calls a function with each sample, on several threads say. Returns infinity where there is no room.
    """

    def nbytes_beyond(sample: Sample, limit: float) -> float:
        return sample.entry_nbytes * sample.beyond(limit_of(limit, sample.entry_nbytes))

    def spent(limit: float) -> float:
        return float(sum(in_turn(lambda sample: nbytes_beyond(sample, limit), samples)))

    most = sum(sample.entry_nbytes * sample.n_rows * sample.n_columns for sample in samples)
    return _approach(spent, most, nbytes)[-1]


def best_limit(sample: Sample, count: int) -> float:
    """The error for which to fit a tensor that gets so many entries: what leaves least squared error of all tried.

    With few weights the number of entries jumps from limit to limit, and the nearest number isn't always best.
    """
    limits = _approach(sample.beyond, sample.n_rows * sample.n_columns, count)
    left = [sample.left(limit, count) for limit in limits]
    at = min(range(len(limits)), key=lambda i: left[i][0])
    best, (error, next_limit) = limits[at], left[at]
    for _ in range(_STEPS):
        if next_limit <= 0 or next_limit == best:
            break
        found = sample.left(next_limit, count)
        if found[0] >= error:
            break
        best, (error, next_limit) = next_limit, found
    return best


def limit_of(limit: float, entry_nbytes: int) -> float:
    """The error that is worth an entry of this size, if `limit` is worth one of 8 bytes."""
    return limit * math.sqrt(entry_nbytes / layout.NARROW_ENTRY_NBYTES)


def _approach(spent: Callable[[float], float], most: float, wanted: float) -> list[float]:
    """Limits tried on the way to where so much is spent, the nearest last: the higher the limit, the less is spent."""
    tried = [math.inf]
    least = spent(math.inf)
    if least >= wanted:
        return tried
    (low, high), (more, less) = (_SMALLEST, _LARGEST), (most, least)
    for step in range(_HALVINGS + _INTERPOLATIONS):
        part = 0.5 if step < _HALVINGS else (more - wanted) / max(more - less, 1e-9)
        middle = low + (high - low) * min(max(part, 0.02), 0.98)
        tried.append(2.0**middle)
        found = spent(tried[-1])
        if found > wanted:
            low, more = middle, found
        else:
            high, less = middle, found
    tried.append(2.0 ** (low + (high - low) * min(max((more - wanted) / max(more - less, 1e-9), 0.0), 1.0)))
    return tried
