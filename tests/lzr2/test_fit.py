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
