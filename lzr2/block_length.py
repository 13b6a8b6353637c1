"""How many weights an index should stand for: what makes a record smallest, judged by compressing some of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lzr2 import deflate, layout

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

D_CHOICES = (8, 10, 6, 5, 4, 3, 2, 1)
_AS_GOOD = 1.005
_SAMPLE_WEIGHTS = 1 << 18


def packed(digits: U8, d: int) -> U16:
    """The digits [R, N] as indices of d digits each [R, ceil(N / d)]."""
    from lzr2 import fit

    indices = np.empty((digits.shape[0], layout.blocks_needed(digits.shape[1], d)), np.uint16)
    fit.pack(digits, d, indices)
    return indices


def raw(indices: U16) -> memoryview:
    """Their bytes."""
    return indices.reshape(-1).view(np.uint8).data


def cheapest(digits: U8, overlay_count: int) -> int:
    """The d that makes the record smallest, or nearly and is faster to decode."""
    n_rows, n_columns = digits.shape
    if digits.size == 0:
        return 1
    every = max(1, digits.size // _SAMPLE_WEIGHTS)
    sample = np.ascontiguousarray(digits[:: min(every, n_rows)])
    sizes = expected_nbytes(sample, n_rows, n_columns, overlay_count, D_CHOICES)
    # The first of those that are as good as smallest: fastest to decode first.
    return next(d for d, size in sizes.items() if size <= min(sizes.values()) * _AS_GOOD)


def expected_nbytes(
    sample: U8, n_rows: int, n_columns: int, overlay_count: float, choices: tuple[int, ...]
) -> dict[int, float]:
    """About how large the sections of a tensor get with each d, judged by some of its digits [r, n]."""
    share = n_rows * n_columns / sample.size

    def nbytes(d: int) -> float:
        stream = len(deflate.compress(raw(packed(sample, d)))) * share
        entry = layout.entry_nbytes(n_rows, layout.blocks_needed(n_columns, d), d)
        return float(stream + layout.tables_nbytes(n_rows, d) + overlay_count * entry)

    return {d: nbytes(d) for d in choices}
