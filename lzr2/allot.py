"""A file's size spent on the weights, of all its tensors, whose errors are largest for their bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import block_length, fitted, layout, threshold
from lzr2.errors import EncodeError
from lzr2.fitted import FittedTensor, Lattice

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Measured:
    """What is kept of a fitted tensor until it is known how many overlay entries it gets: no weights.

    offset, scale: float32, one a row. lattice_nbytes: of the payload without entries. bins, counts: which upper 16
    bits of float32 its errors have, ascending, and how often; exact weights aren't among them.
    """

    shape: tuple[int, ...]
    d: int
    offset: F32
    scale: F32
    lattice_nbytes: int
    entry_nbytes: int
    bins: U16
    counts: I64

    @property
    def needed(self) -> int:
        """Entries that it must have, for infinities and NaN."""
        return int(self.counts[self.bins >= threshold.INFINITE_BIN].sum())


def measure(tensor: npt.NDArray[Any], limit: float) -> Measured:
    """The tensor on a lattice fitted for an overlay of the errors above `limit` (at infinity: the smallest lattice).

    tensor: floating, at least one dimension; taken as float16. Memory: as encode.fit_tensor. Raises EncodeError.
    """
    patterns = fitted.patterns_of(tensor, None)
    found = fitted.nearest_lattice(patterns, limit)
    upper = threshold.histogram(patterns, found.levels, found.digits)
    if limit == math.inf:
        d, stream = fitted.smallest(patterns, found, threshold.infinite(upper), None)
    else:
        d = block_length.cheapest(found.digits, int(upper[threshold.bin_of(limit) :].sum()))
        stream = fitted.compressed(found.digits, d)
    upper[0] = 0
    bins = np.flatnonzero(upper)
    return Measured(
        shape=tensor.shape,
        d=d,
        offset=found.offset,
        scale=found.scale,
        lattice_nbytes=fitted.lattice_nbytes(len(patterns), d, stream),
        entry_nbytes=fitted.entry_nbytes(patterns, d),
        bins=bins.astype(np.uint16),
        counts=upper[bins],
    )


def fit_measured(tensor: npt.NDArray[Any], measured: Measured, entries: int) -> FittedTensor:
    """The same tensor once more, on the lattice that was measured, with so many entries for its largest errors.

    Raises EncodeError where it isn't the same.
    """
    patterns = fitted.patterns_of(tensor, None)
    if tensor.shape != measured.shape:
        raise EncodeError("the tensor changed while it was encoded", found=tensor.shape, expected=measured.shape)
    found: Lattice = fitted.lattice_of(patterns, measured.offset, measured.scale)
    chosen = threshold.largest(patterns, found.levels, found.digits, entries)
    stream = fitted.compressed(found.digits, measured.d)
    result = FittedTensor(tensor.shape, measured.d, stream, patterns, found, chosen)
    if result.nbytes != measured.lattice_nbytes + entries * measured.entry_nbytes:
        raise EncodeError("the tensor changed while it was encoded")
    return result


def allot(measured: Mapping[str, Measured], nbytes: int) -> dict[str, int]:
    """Overlay entries for each tensor, so that the file has at most `nbytes`.

    The errors of all tensors compete: whatever removes most squared error for its bytes is bought first, so that one
    threshold holds for the whole file (for entries of 12 bytes, one that is larger by the root of 12/8). Within the
    bin of the histogram where the bytes end, which is 1/128 wide, all tensors get the same share. Less than an entry
    is left over, unless everything is exact. Raises EncodeError where the lattices, with the entries for infinities
    and NaN, take more: it names what they take.
    """
    least = least_nbytes(measured)
    if nbytes < least:
        raise too_small(nbytes, least)
    room = nbytes - fixed_nbytes({key: (one.shape, one.lattice_nbytes) for key, one in measured.items()})
    # Bytes of entries for each bin: of 8 bytes in one half, of 12 in the other.
    cost, worth = np.zeros((2, threshold.N_BINS), np.int64), np.empty((2, threshold.N_BINS))
    for one in measured.values():
        cost[_half(one), one.bins] += one.counts * one.entry_nbytes
    squares = np.square(threshold.bin_middles(np.arange(threshold.N_BINS, dtype=np.uint16)))
    worth[0], worth[1] = squares / layout.NARROW_ENTRY_NBYTES, squares / layout.WIDE_ENTRY_NBYTES
    order = np.argsort(-worth.reshape(-1), kind="stable")
    spent = np.cumsum(cost.reshape(-1)[order])
    if spent[-1] <= room:
        return {key: int(one.counts.sum()) for key, one in measured.items()}
    last = worth.reshape(-1)[order[int(np.argmax(spent > room))]]
    above = [one.counts[worth[_half(one), one.bins] > last].sum() for one in measured.values()]
    within = [one.counts[worth[_half(one), one.bins] == last].sum() for one in measured.values()]
    sizes = [one.entry_nbytes for one in measured.values()]
    room -= sum(int(n) * size for n, size in zip(above, sizes, strict=True))
    shared = _shared([int(n) for n in within], sizes, room)
    return {key: int(n) + more for key, n, more in zip(measured, above, shared, strict=True)}


def too_small(nbytes: int, least: int) -> EncodeError:
    """What is wrong with a size for a file that can't have less than `least`."""
    what = "the size is too small for the lattices alone"
    return EncodeError(what, found=nbytes, expected=f"{least} bytes or more")


def least_nbytes(measured: Mapping[str, Measured]) -> int:
    """Bytes of a file that has no entries but those for infinities and NaN."""
    return fixed_nbytes(
        {key: (one.shape, one.lattice_nbytes + one.needed * one.entry_nbytes) for key, one in measured.items()}
    )


def fixed_nbytes(payloads: Mapping[str, tuple[tuple[int, ...], int]]) -> int:
    """Bytes of a file with payloads of these shapes and sizes."""
    return len(layout.MAGIC) + sum(_header_nbytes(key, shape) + nbytes for key, (shape, nbytes) in payloads.items())


def _header_nbytes(key: str, shape: tuple[int, ...]) -> int:
    return 4 + len(key.encode("utf-8", "surrogatepass")) + 4 + 4 * len(shape) + 1


def _half(one: Measured) -> int:
    return int(one.entry_nbytes != layout.NARROW_ENTRY_NBYTES)


def _shared(counts: list[int], sizes: list[int], room: int) -> list[int]:
    """The same share of each count, rounded down, then one more for one after the other while there is room."""
    total = sum(n * size for n, size in zip(counts, sizes, strict=True))
    taken = [n * room // total for n in counts]
    room -= sum(n * size for n, size in zip(taken, sizes, strict=True))
    fits = True
    while fits:  # entries of two sizes: after one round a small one may still fit
        fits = False
        for i, size in enumerate(sizes):
            if taken[i] < counts[i] and size <= room:
                taken[i] += 1
                room -= size
                fits = True
    return taken
