"""A tensor without its file: the indices inflated, the overlay as positions and values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lzr2 import layout
from lzr2.errors import InvalidTensorError


@dataclass(frozen=True, eq=False)
class InflatedTensor:
    """One tensor with its indices inflated: needs no file, 2/d bytes a weight plus 6 an overlay entry.

    indices uint16 [C, B], all legal; levels uint16 [C, 3]: the float16 patterns of a row's digits -1, 0, 1;
    overlay_positions: unsigned, strictly increasing, flat; overlay_values uint16: their float16 patterns.
    """

    key: str
    shape: tuple[int, ...]
    d: int
    indices: npt.NDArray[np.uint16]
    levels: npt.NDArray[np.uint16]
    overlay_positions: npt.NDArray[np.unsignedinteger]
    overlay_values: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        """Raises InvalidTensorError unless the arrays fit the shape: compiled loops go by them."""
        positions = self.overlay_positions
        if not (
            self.shape
            and self.indices.dtype == self.levels.dtype == self.overlay_values.dtype == np.uint16
            and self.indices.ndim == 2
            and self.indices.shape[0] == self.n_rows
            and self.levels.shape == (self.n_rows, 3)
            and positions.dtype in (np.uint32, np.uint64)
            and positions.ndim == 1
            and positions.shape == self.overlay_values.shape
            and bool(np.all(positions[1:] > positions[:-1]))
        ):
            found = (self.indices.shape, self.levels.shape, positions.shape, self.overlay_values.shape)
            raise InvalidTensorError(
                "arrays of another shape, type or order", key=self.key, found=found, expected=self.shape
            )

    @property
    def n_rows(self) -> int:
        """C: the first dimension."""
        return layout.rows_and_columns(self.shape)[0]

    @property
    def n_columns(self) -> int:
        """N: the product of the other dimensions."""
        return layout.rows_and_columns(self.shape)[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the arrays keep."""
        arrays = (self.indices, self.levels, self.overlay_positions, self.overlay_values)
        return sum(a.nbytes for a in arrays)
