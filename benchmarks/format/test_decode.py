"""Decoding: pytest benchmarks/format/test_decode.py. What is timed is first compared with the plain reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lzr2
from benchmarks.format import cases
from benchmarks.rate import tell_rate
from streamer.bench import plain_decode

KINDS = {
    "lattice-heavy": (cases.LATTICE_HEAVY, 8),
    "lattice-heavy d=10": (cases.LATTICE_HEAVY, 10),
    "overlay-heavy": (cases.OVERLAY_HEAVY, 8),
}
Opened = tuple[lzr2.Lzr2File, memoryview, np.ndarray]


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A file, its content, and its tensor by the plain reference."""
    fraction, d = KINDS[request.param]
    path = cases.write(tmp_path_factory.mktemp("decode") / "a.lzr2", fraction, d, copies=1)
    data = memoryview(path.read_bytes())
    with lzr2.open(path, sidecar=False) as file:
        yield file, data, plain_decode.decode(data, file.record("t0")).reshape(-1)


def timed(benchmark: Any, run: Any, out: np.ndarray, expected: np.ndarray) -> None:
    out.fill(-1)
    run()
    assert np.array_equal(out.view(np.uint8), expected.astype(out.dtype).view(np.uint8))
    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    tell_rate(benchmark, "float16", cases.OUTPUT_NBYTES)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("threads", [1, 2])
def test_from_the_file(benchmark: Any, opened: Opened, threads: int, dtype: Any) -> None:
    file, _, expected = opened
    out = np.empty(expected.size, dtype)
    timed(benchmark, lambda: file.decode_into("t0", out, threads=threads), out, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_inflated_before(benchmark: Any, opened: Opened, threads: int) -> None:
    file, _, expected = opened
    out = np.empty(expected.size, np.float16)
    held = file.read_inflated("t0")
    timed(benchmark, lambda: lzr2.decode_inflated_into(held, out, threads=threads), out, expected)


def test_plain_numpy(benchmark: Any, opened: Opened) -> None:
    file, data, expected = opened
    info = file.record("t0")
    assert np.array_equal(file.get_tensor("t0").reshape(-1).view(np.uint16), expected.view(np.uint16))
    benchmark.pedantic(lambda: plain_decode.decode(data, info), rounds=2)
    tell_rate(benchmark, "float16", cases.OUTPUT_NBYTES)
