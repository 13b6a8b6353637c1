"""Float16 to float32 in host memory, which is what a CPU's weights are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

import lzr2
from benchmarks.rate import tell_rate

VALUES = np.random.default_rng(0).standard_normal(1280 * 10240, np.float32).astype(np.float16)


def test_widen(benchmark: Any) -> None:
    out = np.empty(VALUES.size, np.float32)
    lzr2.widen(VALUES, out)
    assert np.array_equal(out.view(np.uint32), VALUES.astype(np.float32).view(np.uint32))
    benchmark(lambda: lzr2.widen(VALUES, out))
    tell_rate(benchmark, "float16", VALUES.nbytes)


def test_numpy(benchmark: Any) -> None:
    out = np.empty(VALUES.size, np.float32)
    np.copyto(out, VALUES)
    assert np.array_equal(out, VALUES.astype(np.float32))
    benchmark(lambda: np.copyto(out, VALUES))
    tell_rate(benchmark, "float16", VALUES.nbytes)
