"""What an encoder is to keep of a tensor."""

from __future__ import annotations

import math
import numbers
import sys
from dataclasses import dataclass
from typing import Any

from lzr2.errors import EncodeError


@dataclass(frozen=True, slots=True)
class Target:
    """What to keep: everything (all None), or one limit, which is never exceeded. Raises EncodeError.

    overlay_fraction: share of the weights in the overlay, 0 to 1: int(overlay_fraction * weights) entries, if as many
    aren't exact without. max_error: largest absolute error a weight may keep. nbytes: size of the payload. The errors
    are those against the tensor as float16.
    """

    overlay_fraction: float | None = None
    max_error: float | None = None
    nbytes: int | None = None

    def __post_init__(self) -> None:
        if sum(limit is not None for limit in (self.overlay_fraction, self.max_error, self.nbytes)) > 1:
            raise EncodeError("several targets", expected="one of overlay_fraction, max_error and nbytes")
        _require("overlay_fraction", self.overlay_fraction, numbers.Real, 1, "a number from 0 to 1")
        _require("max_error", self.max_error, numbers.Real, sys.float_info.max, "a finite number from 0")
        _require("nbytes", self.nbytes, numbers.Integral, math.inf, "a whole number from 0")

    @property
    def lossless(self) -> bool:
        """Whether there is no limit: every weight is kept."""
        return self.overlay_fraction is None and self.max_error is None and self.nbytes is None


def _require(name: str, value: Any, kind: type, most: float, expected: str) -> None:
    # To Python a bool is a number, but nobody means it.
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool) or not 0 <= _plain(value) <= most):
        raise EncodeError(name, found=repr(value), expected=expected)


def _plain(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number
        return math.inf if value > 0 else -math.inf
