"""Exactly as many entries as asked for, of the largest errors; a limit is a limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import threshold
from lzr2.errors import EncodeError

from .test_misses import error_bits

LEVELS = np.array([[-1.0, 0.0, 1.0]], np.float16).view(np.uint16)


def on_middle(errors: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    patterns = np.array([errors], np.float16).view(np.uint16)
    return patterns, LEVELS, np.ones(patterns.shape, np.uint8)


some = st.sampled_from([0.0, 0.25, 0.25, 0.5, 2**-24, 1.0, 1.5, 0.1])


@settings(max_examples=200, deadline=None)
@given(st.lists(some | st.floats(-100, 100, width=16), min_size=1, max_size=40), st.integers(0, 45))
def test_the_largest_errors_exactly_so_many(errors: list[float], count: int) -> None:
    place = on_middle(errors)
    chosen = threshold.largest(*place, count)
    bits = np.sort(error_bits(place[0], np.full_like(place[0], LEVELS[0, 1])).reshape(-1))[::-1]
    differ = np.count_nonzero(bits)
    assert chosen.count == min(count, differ)
    if chosen.count:
        assert chosen.count == np.count_nonzero(bits > chosen.bits) + chosen.ties
        assert chosen.ties <= np.count_nonzero(bits == chosen.bits)
    assert np.count_nonzero(bits > chosen.bits) <= count


@pytest.mark.parametrize(("count", "fits"), [(0, False), (2, False), (3, True), (4, True)])
def test_infinities_need_their_entries(count: int, fits: bool) -> None:
    place = on_middle([0.5, np.inf, 0.25, -np.inf, np.nan])
    if fits:
        assert threshold.largest(*place, count).count == count
    else:
        with pytest.raises(EncodeError, match="no room for infinities") as caught:
            threshold.largest(*place, count)
        assert caught.value.expected == "3 entries or more"


@settings(max_examples=100, deadline=None)
@given(st.lists(some | st.floats(-100, 100, width=16), min_size=1, max_size=40), st.floats(0, 100))
def test_all_above_a_limit(errors: list[float], limit: float) -> None:
    chosen = threshold.beyond(*on_middle(errors), threshold.rounded_down(limit))
    above = np.abs(np.array(errors, np.float16).astype(np.float64)) > limit
    minus_zero = sum(1 for x in errors if x == 0 and np.signbit(x)) if limit == 0 or chosen.bits == 0 else 0
    assert chosen.count == np.count_nonzero(above) + minus_zero


def test_a_difference_that_float32_rounds_down_to_the_limit_is_too_large() -> None:
    patterns = np.array([[1024.0, 1023.5]], np.float16).view(np.uint16)
    levels = np.array([[-1.0, -(2.0**-24), 1.0]], np.float16).view(np.uint16)
    place = patterns, levels, np.ones((1, 2), np.uint8)
    assert np.float32(1024.0) + np.float32(2.0**-24) == 1024.0
    assert threshold.beyond(*place, np.float32(1024.0)).count == 1
    assert threshold.beyond(*place, np.nextafter(np.float32(1024.0), np.float32(2000))).count == 0


@pytest.mark.parametrize("limit", [0.1, 1 / 3, 1e-9, 1e39])
def test_a_limit_is_never_exceeded_by_its_rounding(limit: float) -> None:
    rounded = float(threshold.rounded_down(limit))
    assert rounded <= limit
    assert rounded > limit * (1 - 2e-7) or limit > 1e38


def test_bins_stand_for_their_errors() -> None:
    for error in (1e-6, 0.3, 1.0, 5e4):
        middle = threshold.bin_middles(np.array([threshold.bin_of(error)], np.uint16))[0]
        assert abs(middle / error - 1) <= 1 / 128
    assert np.isinf(threshold.bin_middles(np.array([threshold.bin_of(np.inf), 0x7FFF], np.uint16))).all()
