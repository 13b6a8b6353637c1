"""Which weights go into the overlay: those whose errors are largest, up to exactly as many as are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lzr2 import lattice
from lzr2.errors import EncodeError

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]

N_BINS = 65_536
INFINITE_BIN = 0x7F800000 >> 16  # the histogram's first bin for what may not be left as it is


@dataclass(frozen=True, slots=True)
class Threshold:
    """Weights with a larger error than this go into the overlay, and the first few of those with just this one.

    bits: the error as the pattern of a float32. ties: how many of those with this error. count: entries in all.
    """

    bits: int
    ties: int
    count: int


def histogram(patterns: U16, levels: U16, digits: U8, prefix: int = -1) -> I64:
    """How many errors have each value of their upper 16 bits, or of the lower 16 below one of those (`prefix`).

    patterns, digits: [R, N]. levels: float16 patterns [R, 3]. Returns int64 [65536]. Bin 0 holds what is exact.
    """
    from lzr2 import misses

    counts = np.zeros(N_BINS, np.int64)
    misses.error_histogram(patterns, levels, digits, lattice.widening_table(), prefix, counts)
    return counts


def infinite(upper: I64) -> int:
    """How many errors of a histogram are beyond every number: such weights may not be left as they are."""
    return int(upper[INFINITE_BIN:].sum())


def bin_of(error: float) -> int:
    """The bin of a histogram that an error falls into."""
    return int(np.float32(error).view(np.uint32)) >> 16


def bin_middles(bins: U16) -> npt.NDArray[np.float64]:
    """The errors that bins of a histogram stand for; infinity for those of infinities and NaN."""
    finite = np.minimum(bins, INFINITE_BIN - 1).astype(np.uint32)
    middles = (finite << 16 | 0x8000).view(np.float32).astype(np.float64)
    return np.where(bins >= INFINITE_BIN, np.inf, middles)


def largest(patterns: U16, levels: U16, digits: U8, count: int, upper: I64 | None = None) -> Threshold:
    """The threshold that gives entries to the `count` largest errors, exactly, or to all weights that aren't exact.

    Of equal errors at the threshold, the first in order. upper: the histogram, if it is there. Raises EncodeError
    where not even infinities and NaN get their entries.
    """
    upper = histogram(patterns, levels, digits) if upper is None else upper
    needed = infinite(upper)
    if needed > count:
        advice = "Give it a larger share or size."
        wanted = f"{needed} entries or more"
        raise EncodeError("the overlay has no room for infinities and NaN", found=count, expected=wanted, advice=advice)
    prefix, above = _first_that_fits(upper, count)
    lower = histogram(patterns, levels, digits, prefix)
    low, above_low = _first_that_fits(lower, count - above)
    bits, above = prefix << 16 | low, above + above_low
    ties = min(count - above, int(lower[low])) if bits else 0
    return Threshold(bits, ties, above + ties)


def beyond(patterns: U16, levels: U16, digits: U8, limit: np.float32) -> Threshold:
    """The threshold that gives entries to the errors above a finite limit."""
    bits = int(np.float32(limit).view(np.uint32))
    upper, lower = histogram(patterns, levels, digits), histogram(patterns, levels, digits, bits >> 16)
    count = int(upper[(bits >> 16) + 1 :].sum()) + int(lower[(bits & 0xFFFF) + 1 :].sum())
    return Threshold(bits, 0, count)


def rounded_down(value: float) -> np.float32:
    """The largest float32 that isn't above the value: a limit is never exceeded."""
    nearest = np.float32(min(value, float(np.finfo(np.float32).max)))
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0))


def _first_that_fits(counts: I64, room: int) -> tuple[int, int]:
    """The lowest bin with at most `room` errors above it, and how many those are."""
    above = np.concatenate([np.cumsum(counts[::-1])[::-1][1:], [0]])
    lowest = int(np.argmax(above <= room))
    return lowest, int(above[lowest])
