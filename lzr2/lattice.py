"""The pure arithmetic of the lattice: digits of an index, the three values of a row."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt


def digits(index: int, d: int) -> tuple[int, ...]:
    """The `d` ternary digits (-1, 0, 1) that an index stands for, most significant first."""
    return tuple(index // 3**k % 3 - 1 for k in range(d - 1, -1, -1))


def row_levels(offset: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The three float32 values of every row, for digits -1, 0 and 1; one rounding per operation.

    offset, scale: float32 [C]. Returns float32 [C, 3]; infinities and NaN as float32 arithmetic gives them.
    """
    digit = np.array([-1, 0, 1], np.float32)
    with np.errstate(all="ignore"):
        return np.multiply(np.add(digit, offset[:, None], dtype=np.float32), scale[:, None], dtype=np.float32)


@lru_cache(maxsize=1)
def widening_table() -> npt.NDArray[np.float32]:
    """The exact float32 value of each of the 65,536 float16 patterns."""
    with np.errstate(all="ignore"):
        return np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)
