"""Errors and overlay entries, against the same said in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lzr2 import fit, lattice, misses

from .test_fit import TABLE, levels_of, planted


def error_bits(patterns: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The exact difference in float64, rounded up to float32, as a pattern."""
    with np.errstate(all="ignore"):
        exact = np.abs(TABLE[patterns].astype(np.float64) - TABLE[taken].astype(np.float64))
        single = exact.astype(np.float32)
        single = np.where(single < exact, np.nextafter(single, np.float32(np.inf)), single)
    bits = np.where(np.isnan(single), np.uint32(0x7FFFFFFF), single.view(np.uint32))
    return np.where(patterns == taken, 0, np.maximum(bits, 1))


@pytest.mark.parametrize("wide", [False, True])
def test_errors_are_counted_and_entered_alike(wide: bool) -> None:
    patterns, offset, scale = planted(12, 200, 0.5, 5)
    patterns[3, 4], patterns[5, 6] = 0x7C00, 0x7E01  # infinity and NaN
    levels = levels_of(offset, scale)
    digits = np.empty(patterns.shape, np.uint8)
    fit.assign(patterns, levels, TABLE, False, digits)
    taken = np.take_along_axis(levels, digits.astype(int), axis=1)
    bits = error_bits(patterns, taken)
    upper = np.zeros(65_536, np.int64)
    misses.error_histogram(patterns, levels, digits, TABLE, -1, upper)
    assert np.array_equal(upper, np.bincount((bits >> 16).reshape(-1), minlength=65_536))
    prefix = int(np.argmax(upper[1:]) + 1)
    lower = np.zeros(65_536, np.int64)
    misses.error_histogram(patterns, levels, digits, TABLE, prefix, lower)
    assert np.array_equal(lower, np.bincount((bits[bits >> 16 == prefix] & 0xFFFF).reshape(-1), minlength=65_536))
    threshold = np.uint32(np.median(bits[bits > 0]))
    words = np.zeros((3 if wide else 2) * patterns.size, np.uint32)
    ties = np.array([1], np.int64)
    n = misses.find_entries(patterns, levels, digits, TABLE, threshold, ties, 100, 50, wide, words)
    equal = np.cumsum(bits == threshold).reshape(bits.shape)
    rows, columns = np.nonzero((bits > threshold) | ((bits == threshold) & (equal == 1)))
    assert ties[0] == 0
    entries = words[:n].reshape(-1, 3 if wide else 2)
    found = (entries[:, 0], entries[:, 1]) if wide else (entries[:, 0] & 0xFFFF, entries[:, 0] >> 16)
    assert np.array_equal(found[0], rows + 100)
    assert np.array_equal(found[1], columns + 50)
    assert np.array_equal(entries[:, -1], TABLE.view(np.uint32)[patterns[rows, columns]])


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.uint16, (3, 20)), hnp.arrays(np.uint16, (3, 3)), st.randoms())
def test_errors_are_exact_or_rounded_up_for_any_patterns(patterns: np.ndarray, levels: np.ndarray, random) -> None:
    digits = np.array([random.randrange(3) for _ in range(60)], np.uint8).reshape(3, 20)
    upper = np.zeros(65_536, np.int64)
    misses.error_histogram(patterns, levels, digits, lattice.widening_table(), -1, upper)
    bits = error_bits(patterns, np.take_along_axis(levels, digits.astype(int), axis=1))
    assert np.array_equal(upper, np.bincount((bits >> 16).reshape(-1), minlength=65_536))
    lower = np.zeros(65_536, np.int64)
    prefix = int(bits.max()) >> 16
    misses.error_histogram(patterns, levels, digits, lattice.widening_table(), prefix, lower)
    assert np.array_equal(lower, np.bincount((bits[bits >> 16 == prefix] & 0xFFFF).reshape(-1), minlength=65_536))
