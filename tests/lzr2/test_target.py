"""What is no target is refused, by a typed error."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lzr2.errors import EncodeError
from lzr2.target import Target


@pytest.mark.parametrize("name", ["overlay_fraction", "max_error", "nbytes"])
@pytest.mark.parametrize("value", ["0.5", b"1", -1, float("nan"), float("inf"), True, [1], 1j, np.array([1.0, 2.0])])
def test_no_number_of_the_kind(name: str, value: Any) -> None:
    with pytest.raises(EncodeError, match=name):
        Target(**{name: value})


def test_a_size_is_whole_and_may_be_any() -> None:
    assert Target(nbytes=10**400).nbytes == 10**400
    with pytest.raises(EncodeError, match="nbytes"):
        Target(nbytes=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 1, np.float32(0.5), np.int64(1), Fraction(1, 3)])
def test_numbers_of_any_make(value: Any) -> None:
    assert not Target(overlay_fraction=value).lossless
    assert not Target(max_error=value).lossless
    assert Target().lossless


def test_one_target_at_most() -> None:
    with pytest.raises(EncodeError, match="several"):
        Target(0.5, 0.5)
