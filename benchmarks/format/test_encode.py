"""Encoding: pytest benchmarks/format/test_encode.py. What was written is first read back and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2
from benchmarks.format import cases
from benchmarks.rate import tell_rate

MADE = {"trained-like": cases.trained_like, "nearly ternary": cases.nearly_ternary}


@pytest.mark.parametrize("kind", MADE)
def test_losslessly(benchmark: Any, tmp_path: Path, kind: str) -> None:
    tensor, path = MADE[kind](), tmp_path / "a.lzr2"
    lzr2.save_file({"t": tensor}, path)
    assert np.array_equal(lzr2.load_file(path)["t"].view(np.uint16), tensor.view(np.uint16))
    benchmark.pedantic(lambda: lzr2.save_file({"t": tensor}, path), rounds=2)
    tell_rate(benchmark, "float16", tensor.nbytes)
    benchmark.extra_info["bytes a weight"] = path.stat().st_size / tensor.size


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_with_a_share_in_the_overlay(benchmark: Any, tmp_path: Path, share: float) -> None:
    tensor, path = cases.trained_like(), tmp_path / "a.lzr2"

    def run() -> None:
        lzr2.save_file({"t": tensor}, path, overlay_fraction=share)

    run()
    with lzr2.open(path, sidecar=False) as file:
        assert file.record("t").overlay_count == pytest.approx(share * tensor.size, rel=0.01)
        error = np.square(file.get_tensor("t").astype(np.float64) - tensor).mean()
    assert 0 < error < np.square(tensor.astype(np.float64)).mean() / 4
    benchmark.pedantic(run, rounds=2)
    tell_rate(benchmark, "float16", tensor.nbytes)
