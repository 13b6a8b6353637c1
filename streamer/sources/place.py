"""Where a tensor is found in a file of another layout: under which key, which rows of it, and how they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A tensor as a part of another.

    Attributes:
        key: of the tensor that has it.
        part: which of the parts that lie one after the other along its rows, from 0.
        parts: how many there are, of equally many rows each.
        flat: sizes of 1 after the second are dropped: a convolution of 1x1 is a matrix here.
        transposed: a matrix there has rows for columns.
    """

    key: str
    part: int = 0
    parts: int = 1
    flat: bool = False
    transposed: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is the other tensor, unchanged."""
        return self.parts == 1 and not self.flat and not self.transposed

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The first of its rows and how many there are.

        Args:
            shape: of the tensor that has it.
        """
        n_rows = shape[0] // self.parts
        return self.part * n_rows, n_rows

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Its shape.

        Args:
            shape: of the tensor that has it.

        Raises:
            ValueError: such a tensor can't have it; says why in words.
        """
        if self.parts > 1:
            if not shape or shape[0] % self.parts:
                raise ValueError(f"it can't hold {self.parts} tensors one after the other")
            shape = (shape[0] // self.parts, *shape[1:])
        if self.flat and math.prod(shape[2:]) == 1:
            shape = shape[:2]
        if self.transposed:
            if len(shape) != 2:
                raise ValueError("it is no matrix")
            shape = (shape[1], shape[0])
        return shape


PlaceOf = Callable[[str], Place | None]
"""Where the tensor of this name is; None: the layout has no place for such a name."""
