"""The encoder's loops, against the same said in plain numpy; levels that were planted are found."""

from __future__ import annotations

import numpy as np
import pytest

from lzr2 import fit, kernels, lattice

TABLE = lattice.widening_table()


def levels_of(offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    exact = lattice.row_levels(offset, scale)
    levels = np.empty(exact.shape, np.uint16)
    kernels.round_to_half(exact.reshape(-1).view(np.uint32), levels.reshape(-1))
    return levels


def planted(rows: int, columns: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights on three levels a row but for a share of them; the offsets and scales."""
    random = np.random.default_rng(seed)
    offset = random.uniform(-0.4, 0.4, rows).astype(np.float32)
    scale = random.uniform(0.01, 0.1, rows).astype(np.float32)
    levels = levels_of(offset, scale)
    patterns = np.take_along_axis(levels, random.integers(0, 3, (rows, columns)), axis=1)
    elsewhere = random.random((rows, columns)) < noise
    patterns[elsewhere] = random.normal(0, 0.2, int(elsewhere.sum())).astype(np.float16).view(np.uint16)
    return patterns, offset, scale


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.2])
def test_planted_levels_are_found_exactly(noise: float) -> None:
    patterns, true_offset, true_scale = planted(30, 500, noise, 1)
    offset, scale = np.zeros(30, np.float32), np.ones(30, np.float32)
    fit.fit_exact(patterns, TABLE, offset, scale)
    digits = np.empty(patterns.shape, np.uint8)
    misses = fit.assign(patterns, levels_of(offset, scale), TABLE, True, digits)
    possible = fit.assign(patterns, levels_of(true_offset, true_scale), TABLE, True, digits)
    assert misses <= possible
    assert misses <= (noise + 0.02) * patterns.size


def test_one_value_or_two_a_row_are_found_too() -> None:
    random = np.random.default_rng(2)
    values = random.normal(0, 1, (40, 2)).astype(np.float16)
    patterns = np.take_along_axis(values, random.integers(0, 2, (40, 64)), axis=1).view(np.uint16)
    patterns[:20] = patterns[:20, :1]
    offset, scale = np.zeros(40, np.float32), np.ones(40, np.float32)
    fit.fit_exact(patterns, TABLE, offset, scale)
    assert fit.assign(patterns, levels_of(offset, scale), TABLE, True, np.empty(patterns.shape, np.uint8)) == 0


@pytest.mark.parametrize("exact", [True, False])
def test_each_weight_gets_the_level_that_it_equals_or_that_is_nearest(exact: bool) -> None:
    patterns, offset, scale = planted(20, 300, 0.3, 3)
    levels = levels_of(offset, scale)
    digits = np.empty(patterns.shape, np.uint8)
    misses = fit.assign(patterns, levels, TABLE, exact, digits)
    taken = np.take_along_axis(levels, digits.astype(int), axis=1)
    assert misses == np.count_nonzero(taken != patterns)
    errors = np.abs(TABLE[patterns][:, :, None] - TABLE[levels][:, None, :])
    hit = (patterns[:, :, None] == levels[:, None, :]).any(axis=2)
    if exact:
        assert np.array_equal(taken == patterns, hit)
        assert (digits[~hit] == 1).all()
    else:
        assert np.array_equal(
            np.take_along_axis(errors, digits.astype(int)[:, :, None], axis=2)[:, :, 0], errors.min(axis=2)
        )


def test_a_fit_to_the_nearest_level_is_no_worse_than_mean_and_deviation() -> None:
    random = np.random.default_rng(4)
    values = random.normal(0.1, 1.0, (16, 2000)).astype(np.float16)
    patterns = values.view(np.uint16)

    def error(offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
        exact = lattice.row_levels(offset, scale)
        return np.abs(values.astype(np.float64)[:, :, None] - exact[:, None, :]).min(axis=2).__pow__(2).mean(axis=1)

    offset, scale = np.zeros(16, np.float32), np.ones(16, np.float32)
    fit.fit_nearest(patterns, TABLE, np.float32(np.inf), False, offset, scale)
    deviation = values.astype(np.float64).std(axis=1)
    simple = error(
        (values.astype(np.float64).mean(axis=1) / deviation).astype(np.float32), deviation.astype(np.float32)
    )
    assert (error(offset, scale) < simple).all()
    # Of a normal distribution three levels leave 0.19 of the variance (Lloyd and Max).
    assert np.allclose(error(offset, scale) / deviation**2, 0.19, atol=0.02)
    before = error(offset, scale)
    fit.fit_nearest(patterns, TABLE, np.float32(np.inf), True, offset, scale)
    assert (error(offset, scale) <= before * 1.0001).all()


@pytest.mark.parametrize("d", [1, 3, 8, 10])
@pytest.mark.parametrize("columns", [1, 7, 24, 25])
def test_packing_is_ternary_notation(d: int, columns: int) -> None:
    digits = np.random.default_rng(d).integers(0, 3, (5, columns)).astype(np.uint8)
    blocks = -(-columns // d)
    indices = np.empty((5, blocks), np.uint16)
    fit.pack(digits, d, indices)
    padded = np.ones((5, blocks * d), np.int64)
    padded[:, :columns] = digits
    assert np.array_equal(indices, padded.reshape(5, blocks, d) @ 3 ** np.arange(d - 1, -1, -1))


@pytest.mark.parametrize("wide", [False, True])
def test_errors_are_counted_and_entered_alike(wide: bool) -> None:
    patterns, offset, scale = planted(12, 200, 0.5, 5)
    patterns[3, 4], patterns[5, 6] = 0x7C00, 0x7E01  # infinity and NaN
    levels = levels_of(offset, scale)
    digits = np.empty(patterns.shape, np.uint8)
    fit.assign(patterns, levels, TABLE, False, digits)
    taken = np.take_along_axis(levels, digits.astype(int), axis=1)
    with np.errstate(all="ignore"):
        errors = np.abs(TABLE[patterns] - TABLE[taken])
    errors[np.isnan(errors)] = np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0]
    bits = np.where(patterns == taken, 0, np.maximum(errors.view(np.uint32), 1))
    upper = np.zeros(65_536, np.int64)
    fit.error_histogram(patterns, levels, digits, TABLE, -1, upper)
    assert np.array_equal(upper, np.bincount((bits >> 16).reshape(-1), minlength=65_536))
    prefix = int(np.argmax(upper[1:]) + 1)
    lower = np.zeros(65_536, np.int64)
    fit.error_histogram(patterns, levels, digits, TABLE, prefix, lower)
    assert np.array_equal(lower, np.bincount((bits[bits >> 16 == prefix] & 0xFFFF).reshape(-1), minlength=65_536))
    threshold = np.uint32(np.median(bits[bits > 0]))
    words = np.zeros((3 if wide else 2) * patterns.size, np.uint32)
    n = fit.find_entries(patterns, levels, digits, TABLE, threshold, 100, 50, wide, words)
    rows, columns = np.nonzero(bits > threshold)
    entries = words[:n].reshape(-1, 3 if wide else 2)
    found = (entries[:, 0], entries[:, 1]) if wide else (entries[:, 0] & 0xFFFF, entries[:, 0] >> 16)
    assert np.array_equal(found[0], rows + 100)
    assert np.array_equal(found[1], columns + 50)
    assert np.array_equal(entries[:, -1], TABLE.view(np.uint32)[patterns[rows, columns]])
