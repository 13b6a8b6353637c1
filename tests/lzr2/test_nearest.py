"""Three levels a row: about as good as all tries by brute force, whatever the row; planted levels are found exactly."""

from __future__ import annotations

import numpy as np
import pytest

from lzr2 import lattice, nearest

from .test_fit import levels_of, planted

TABLE = lattice.widening_table()


def fitted(patterns: np.ndarray, limit: float = np.inf) -> tuple[np.ndarray, np.ndarray, int]:
    offset, scale = np.empty(len(patterns), np.float32), np.empty(len(patterns), np.float32)
    outside = nearest.fit_nearest(patterns, TABLE, float(limit), offset, scale)
    return offset, scale, outside


def errors(patterns: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    values, levels = TABLE[patterns].astype(np.float64), TABLE[levels_of(offset, scale)].astype(np.float64)
    return np.abs(values[:, :, None] - levels[:, None, :]).min(axis=2)


def test_a_normal_row_is_as_near_as_three_levels_can_be() -> None:
    values = np.random.default_rng(4).normal(0.1, 1.0, (16, 2000)).astype(np.float16)
    offset, scale, outside = fitted(values.view(np.uint16))
    assert outside == 0
    # Of a normal distribution three levels leave 0.19 of the variance (Lloyd and Max).
    left = np.square(errors(values.view(np.uint16), offset, scale)).mean(axis=1)
    assert np.allclose(left / values.astype(np.float64).var(axis=1), 0.19, atol=0.02)


@pytest.mark.parametrize("limit", [0.05, 0.3, 2.0])
def test_what_is_further_off_than_the_limit_is_counted(limit: float) -> None:
    values = np.random.default_rng(5).normal(0, 1, (8, 500)).astype(np.float16)
    values[2, 3], values[3, 4] = np.nan, np.inf
    offset, scale, outside = fitted(values.view(np.uint16), limit)
    off = errors(values.view(np.uint16), offset, scale)
    off[2, 3] = off[3, 4] = np.inf
    assert abs(outside - np.count_nonzero(off > limit)) <= 2


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_levels_that_many_weights_have_are_met_exactly(noise: float) -> None:
    patterns, _, _ = planted(40, 400, noise, 1)
    offset, scale, _ = fitted(patterns, 1e-4)
    missed = np.count_nonzero(errors(patterns, offset, scale))
    assert missed <= (noise + 0.03) * patterns.size


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 24, 25, 63, 64, 65])
def test_rows_of_any_length(n: int) -> None:
    values = np.random.default_rng(n).normal(0, 1, (50, n)).astype(np.float16)
    offset, scale, outside = fitted(values.view(np.uint16))
    left = errors(values.view(np.uint16), offset, scale)
    assert outside == 0
    assert (left <= 1.0001 * np.ptp(values.astype(np.float64), axis=1, keepdims=True) / 4 + 1e-3).mean() > 0.7
    if n < 3:
        assert left.max() <= 1e-3


@pytest.mark.parametrize("value", [0.0, -0.0, 0.7, -65504.0, np.nan])
def test_constant_rows(value: float) -> None:
    patterns = np.full((3, 40), value, np.float16).view(np.uint16)
    offset, scale, outside = fitted(patterns)
    assert outside == (120 if np.isnan(value) else 0)
    if not np.isnan(value):
        assert (levels_of(offset, scale)[:, 1] == patterns[:, 0]).all()


def test_no_weights_at_all() -> None:
    for shape in ((0, 5), (5, 0)):
        assert fitted(np.empty(shape, np.uint16))[2] == 0


def test_of_very_long_rows_weights_are_taken_from_everywhere() -> None:
    random = np.random.default_rng(6)
    values = random.normal(0, 1, (1, 200_000))
    values[:, ::2] += 5  # what takes every second weight sees another row
    patterns = values.astype(np.float16).view(np.uint16)
    offset, scale, _ = fitted(patterns)
    whole = np.square(errors(patterns, offset, scale)).mean()
    offset, scale, _ = fitted(np.ascontiguousarray(np.sort(patterns, axis=1)[:, ::4]))
    assert whole <= 1.02 * np.square(errors(patterns, offset, scale)).mean()
