"""Streams of indices: what any zlib inflates, in the cheapest of three ways."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import deflate

random = np.random.default_rng(0)
CONTENTS = {
    "indices of d = 8": random.integers(0, 3**8, 200_000).astype(np.uint16).tobytes(),
    "indices of d = 10": random.integers(0, 3**10, 200_000).astype(np.uint16).tobytes(),
    "repeating": bytes(range(250)) * 1000,
    "constant": bytes(100_000),
    "empty": b"",
}


@pytest.fixture(params=["standard zlib", "fastest"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "standard zlib":
        monkeypatch.setattr(deflate, "_backend", zlib)


@pytest.mark.parametrize("name", CONTENTS)
def test_zlib_inflates_it(name: str) -> None:
    content = CONTENTS[name]
    for stream in (deflate.compress(memoryview(content)), deflate.store(memoryview(content))):
        assert zlib.decompress(stream) == content


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes(content: bytes) -> None:
    assert zlib.decompress(deflate.compress(memoryview(content))) == content


def test_each_content_gets_what_pays() -> None:
    def ratio(name: str) -> float:
        return len(deflate.compress(memoryview(CONTENTS[name]))) / len(CONTENTS[name])

    assert 0.8 < ratio("indices of d = 8") < 0.92  # Huffman codes: 3^8 of 65,536 values
    assert 1.0 <= ratio("indices of d = 10") < 1.001  # stored: codes would save 1 %
    assert ratio("repeating") < 0.02  # matches
    assert ratio("constant") < 0.01
