"""An inflated tensor is what its arrays are, and nothing that compiled loops can't go by."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import lzr2
from lzr2 import errors

from .reference import simple_record


def test_its_sizes() -> None:
    with lzr2.open(b"LZR2" + simple_record("a")) as file:
        inflated = file.read_inflated("a")
    assert (inflated.n_rows, inflated.n_columns) == (3, 20)
    arrays = (inflated.indices, inflated.levels, inflated.overlay_positions, inflated.overlay_values)
    assert inflated.nbytes == sum(len(array.tobytes()) for array in arrays)


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": np.zeros((1, 3), np.uint16)},
        {"indices": np.zeros((2, 3), np.uint16)},
        {"indices": np.zeros((3, 3), np.int32)},
        {"overlay_positions": np.zeros(1, np.uint32)},
        {"overlay_positions": np.zeros(0, np.int64)},
        {"overlay_positions": np.array([5, 4], np.uint32), "overlay_values": np.zeros(2, np.uint16)},
        {"overlay_positions": np.array([5, 5], np.uint32), "overlay_values": np.zeros(2, np.uint16)},
        {"shape": (4, 20)},
        {"shape": ()},
    ],
)
def test_an_inflated_tensor_whose_arrays_do_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with lzr2.open(b"LZR2" + simple_record("a")) as file:
        inflated = file.read_inflated("a")
    assert dataclasses.replace(inflated).shape == (3, 20)
    with pytest.raises(errors.InvalidTensorError):
        dataclasses.replace(inflated, **wrong)
