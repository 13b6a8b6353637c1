"""Inflating indices: pytest benchmarks/format/test_inflate.py. Both ways are first compared with the library's own."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from benchmarks.rate import tell_rate
from lzr2.inflate import SLACK_NBYTES, inflate, inflate_exactly

N_INDICES = 1280 * 1440


@pytest.fixture(scope="module", params=["evenly spread", "skewed"])
def stream(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """A zlib stream of d=8 indices, and what it holds."""
    random = np.random.default_rng(0)
    if request.param == "evenly spread":
        indices = random.integers(0, 3**8, N_INDICES)
    else:
        indices = np.minimum(random.exponential(400, N_INDICES), 3**8 - 1)
    content = indices.astype("<u2").tobytes()
    return zlib.compress(content), content


def test_the_fast_way(benchmark: Any, stream: tuple[bytes, bytes], request: pytest.FixtureRequest) -> None:
    packed, content = stream
    padded = np.frombuffer(packed + bytes(SLACK_NBYTES), np.uint8)
    out = np.zeros(len(content) + SLACK_NBYTES, np.uint8)
    taken = inflate_exactly(padded, len(packed), out, len(content))
    assert taken == (request.node.callspec.params["stream"] == "evenly spread")
    if taken:
        assert out[: len(content)].tobytes() == content == zlib.decompress(packed)
    # Of a stream that it leaves to the other way, how soon it says so.
    benchmark(lambda: inflate_exactly(padded, len(packed), out, len(content)))
    tell_rate(benchmark, "indices", len(content))


def test_the_way_for_all_streams(benchmark: Any, stream: tuple[bytes, bytes]) -> None:
    packed, content = stream
    assert b"".join(inflate([packed], len(content))) == content
    benchmark(lambda: sum(len(piece) for piece in inflate([packed], len(content))))
    tell_rate(benchmark, "indices", len(content))


def test_the_standard_library(benchmark: Any, stream: tuple[bytes, bytes]) -> None:
    packed, content = stream
    assert zlib.decompress(packed) == content
    benchmark(lambda: zlib.decompress(packed))
    tell_rate(benchmark, "indices", len(content))
