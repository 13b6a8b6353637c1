"""Array -> EncodedTensor: lossless, or under an overlay, error or size target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import block_length, fitted, layout, threshold
from lzr2.errors import EncodeError
from lzr2.fitted import FittedTensor
from lzr2.record import EncodedTensor
from lzr2.sample import Sample, best_limit
from lzr2.target import Target
from lzr2.threshold import Threshold

U16 = npt.NDArray[np.uint16]

PERHAPS = 1.05  # how far a sample may be off the mark when it says that lossless is too large


def fit_tensor(tensor: npt.NDArray[Any], target: Target, d: int | None = None) -> FittedTensor:
    """The tensor's lattice under a target, with the number of overlay entries it leaves.

    tensor: floating, at least one dimension; taken as float16. d: 1 to 10; None takes what makes the record smallest.
    Memory: 1.5 bytes a weight besides the tensor (2 more if it isn't contiguous float16; 4 where a size leaves no room
    for an overlay). Raises EncodeError.
    """
    patterns = fitted.patterns_of(tensor, d)
    if target.nbytes is not None:
        return _under_size(tensor.shape, patterns, int(target.nbytes), d)
    if target.overlay_fraction is not None:
        return _under_count(tensor.shape, patterns, int(target.overlay_fraction * patterns.size), d)
    limit = threshold.rounded_down(target.max_error or 0.0)
    if limit == 0:
        return fitted.lossless(tensor.shape, patterns, d)
    found = fitted.nearest_lattice(patterns, float(limit))
    chosen = threshold.beyond(patterns, found.levels, found.digits, limit)
    return fitted.on_lattice(tensor.shape, patterns, found, chosen, d)


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
    found = fit_tensor(tensor, Target(overlay_fraction, max_error, nbytes), d)
    wide = found.entry_nbytes != layout.NARROW_ENTRY_NBYTES
    words = np.concatenate([np.zeros(0, np.uint32), *(piece.copy() for piece in found.entries())])
    words = words.reshape(-1, found.entry_nbytes // 4)
    rows, columns = (words[:, 0], words[:, 1]) if wide else (words[:, 0] & 0xFFFF, words[:, 0] >> 16)
    return EncodedTensor(
        shape=found.shape,
        d=found.d,
        offset=found.lattice.offset,
        scale=found.lattice.scale,
        indices=block_length.packed(found.lattice.digits, found.d),
        overlay_rows=np.ascontiguousarray(rows),
        overlay_columns=np.ascontiguousarray(columns),
        overlay_values=np.ascontiguousarray(words[:, -1]).view(np.float32),
    )


def _under_count(shape: tuple[int, ...], patterns: U16, count: int, d: int | None) -> FittedTensor:
    sample = Sample.of(patterns)
    if sample.missed() <= PERHAPS * count:
        found, misses = fitted.exact_lattice(patterns)
        if misses <= count:
            return fitted.on_lattice(shape, patterns, found, Threshold(0, 0, misses), d)
    found = fitted.nearest_lattice(patterns, best_limit(sample, count))
    chosen = threshold.largest(patterns, found.levels, found.digits, count)
    return fitted.on_lattice(shape, patterns, found, chosen, d)


def _under_size(shape: tuple[int, ...], patterns: U16, nbytes: int, d: int | None) -> FittedTensor:
    sample = Sample.of(patterns)
    if sample.lossless_nbytes(d) <= PERHAPS * nbytes:
        whole = fitted.lossless(shape, patterns, d)
        if whole.nbytes <= nbytes:
            return whole
    expected = max(0, int(nbytes - sample.lattice_nbytes(d)) // sample.entry_nbytes)
    found = fitted.nearest_lattice(patterns, best_limit(sample, expected))
    upper = threshold.histogram(patterns, found.levels, found.digits)
    chosen_d = d or block_length.cheapest(found.digits, expected)
    stream = fitted.compressed(found.digits, chosen_d)
    count = (nbytes - fitted.lattice_nbytes(len(patterns), chosen_d, stream)) // fitted.entry_nbytes(patterns, chosen_d)
    if count < threshold.infinite(upper):
        # No room on these levels: once more without hope for an overlay.
        found = fitted.nearest_lattice(patterns, math.inf)
        upper = threshold.histogram(patterns, found.levels, found.digits)
        needed = threshold.infinite(upper)
        chosen_d, stream = fitted.smallest(patterns, found, needed, d)
        entry_nbytes = fitted.entry_nbytes(patterns, chosen_d)
        bare = fitted.lattice_nbytes(len(patterns), chosen_d, stream)
        count = (nbytes - bare) // entry_nbytes
        if count < needed:
            whole = fitted.lossless(shape, patterns, d)  # smaller than that where all is on its levels
            if whole.nbytes <= nbytes:
                return whole
            least = min(whole.nbytes, bare + needed * entry_nbytes)
            wanted = f"{least} bytes or more"
            raise EncodeError("the size is too small for the lattice alone", found=nbytes, expected=wanted)
    chosen = threshold.largest(patterns, found.levels, found.digits, count, upper)
    return FittedTensor(shape, chosen_d, stream, patterns, found, chosen)
