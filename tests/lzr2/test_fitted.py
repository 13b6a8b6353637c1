"""Sizes of a fitted tensor are those it is written with; nearest digits, smallest streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lzr2
from lzr2 import block_length, fitted
from lzr2.threshold import Threshold


@pytest.mark.parametrize("shape", [(4, 50), (3, 70_001), (9, 0), (70_000, 1)])
@pytest.mark.parametrize("d", [None, 8])
def test_it_is_as_large_as_it_says(shape: tuple[int, int], d: int | None, tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).normal(0, 1, shape).astype(np.float16)
    made = fitted.lossless(shape, fitted.patterns_of(tensor, d), d)
    with lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("t", made)
    with lzr2.open(tmp_path / "a.lzr2", sidecar=False) as file:
        record = file.record("t")
    assert record.payload_nbytes == made.nbytes
    assert record.entry_nbytes == made.entry_nbytes
    assert record.overlay_count == made.overlay_count == sum(4 * p.size for p in made.entries()) // made.entry_nbytes


def test_entries_at_the_threshold_are_the_first_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "_BAND_WEIGHTS", 16)
    tensor = np.full((4, 10), 0.5, np.float16)
    patterns = fitted.patterns_of(tensor, None)
    found = fitted.lattice_of(patterns, np.zeros(4, np.float32), np.ones(4, np.float32))
    bits = int(np.float32(0.5).view(np.uint32))
    made = fitted.on_lattice((4, 10), patterns, found, Threshold(bits, 23, 23), 5)
    words = np.concatenate([piece.copy() for piece in made.entries()]).reshape(-1, 2)
    places = (words[:, 0] & 0xFFFF) * 10 + (words[:, 0] >> 16)
    assert np.array_equal(places, np.arange(23))


def test_the_smallest_stream_of_all() -> None:
    patterns = np.random.default_rng(1).normal(0, 1, (30, 77)).astype(np.float16).view(np.uint16)
    found = fitted.nearest_lattice(patterns, np.inf)
    d, stream = fitted.smallest(patterns, found, 3, None)

    def nbytes(d: int) -> int:
        return fitted.lattice_nbytes(30, d, fitted.compressed(found.digits, d)) + 3 * fitted.entry_nbytes(patterns, d)

    assert stream == fitted.compressed(found.digits, d)
    assert nbytes(d) == min(nbytes(d) for d in block_length.D_CHOICES)
    assert fitted.smallest(patterns, found, 3, 7)[0] == 7


def test_a_large_overlay_vouches_for_a_small_stream() -> None:
    tensor = np.random.default_rng(2).normal(0, 1, (300, 30_000)).astype(np.float16)
    made = fitted.lossless(tensor.shape, fitted.patterns_of(tensor, 8), 8)
    assert 2 * tensor.size > 16 << 20
    assert len(made.stream) < 0.1 * tensor.size < len(fitted.compressed(made.lattice.digits, 8))
