"""The tensors that speeds are stated for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lzr2

SHAPE = (1280, 1280, 3, 3)
OUTPUT_NBYTES = 2 * 1280 * 11520
LATTICE_HEAVY, OVERLAY_HEAVY = 0.01, 0.88


def write(path: Path, overlay_fraction: float, d: int = 8, copies: int = 2) -> Path:
    """A file of equal tensors: random indices, and that share of the weights in the overlay."""
    rng = np.random.default_rng(1)
    n_rows, n_columns = 1280, 11520
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < overlay_fraction)
    tensor = lzr2.EncodedTensor(
        shape=SHAPE,
        d=d,
        offset=rng.normal(0, 0.1, n_rows).astype(np.float32),
        scale=rng.normal(0, 0.03, n_rows).astype(np.float32),
        indices=rng.integers(0, 3**d, (n_rows, -(-n_columns // d))).astype(np.uint16),
        overlay_rows=rows.astype(np.uint16),
        overlay_columns=columns.astype(np.uint16),
        overlay_values=rng.normal(0, 0.03, rows.size).astype(np.float32),
    )
    lzr2.write_records(path, ((f"t{i}", tensor) for i in range(copies)))
    return path


def trained_like() -> np.ndarray:
    """A normally distributed float16 tensor."""
    return np.random.default_rng(2).normal(0, 0.03, SHAPE).astype(np.float16)


def nearly_ternary() -> np.ndarray:
    """Rows on three values, one weight in a hundred anywhere."""
    rng = np.random.default_rng(3)
    tensor = (rng.integers(-1, 2, (1280, 11520)) * rng.normal(0, 0.05, (1280, 1))).astype(np.float16)
    outliers = rng.random(tensor.shape) < 0.01
    tensor[outliers] = rng.normal(0, 0.2, int(outliers.sum()))
    return tensor.reshape(SHAPE)
