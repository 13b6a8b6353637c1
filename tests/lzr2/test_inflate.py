"""Exactly the stream, within the bound, with both libraries; anything else is an error."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import deflate, inflate, zlib_backend
from lzr2.errors import StreamError, StreamSizeError

from .reference import simple_record


@pytest.fixture(params=["standard zlib", "fastest"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "standard zlib":
        monkeypatch.setattr(inflate, "_backend", zlib)
        monkeypatch.setattr(deflate, "_backend", zlib)
    return str(request.param)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("content", [b"", b"x", bytes(700_000), bytes(range(256)) * 2000])
def test_round_trip(backend: str, size: int, content: bytes) -> None:
    stream = zlib.compress(content)
    got = list(inflate.inflate(pieces(stream, size), len(content)))
    assert b"".join(got) == content
    assert all(0 < len(piece) <= inflate.OUTPUT_NBYTES for piece in got)
    assert inflate.inflated_nbytes(pieces(stream, size), len(content)) == len(content)


@pytest.mark.parametrize("size", [3, 1000])
def test_every_cut_is_noticed(backend: str, size: int) -> None:
    stream = zlib.compress(b"some content that is compressed " * 3)
    for n in range(len(stream)):
        with pytest.raises(StreamError, match=r"cut short|damaged"):
            list(inflate.inflate(pieces(stream[:n], size), 1000))


@pytest.mark.parametrize("size", [3, 1000])
def test_bytes_after_the_end_are_noticed(backend: str, size: int) -> None:
    with pytest.raises(StreamError, match="bytes after the end"):
        list(inflate.inflate(pieces(zlib.compress(b"abc") + b"\0", size), 1000))


def test_a_piece_after_the_end_is_noticed(backend: str) -> None:
    with pytest.raises(StreamError, match="bytes after the end"):
        list(inflate.inflate([zlib.compress(b"abc"), b"", b"x"], 1000))


def test_the_bound_is_exact(backend: str) -> None:
    stream = zlib.compress(bytes(1000))
    assert inflate.inflated_nbytes([stream], 1000) == 1000
    with pytest.raises(StreamSizeError, match="more than 999 bytes"):
        inflate.inflated_nbytes([stream], 999)
    with pytest.raises(StreamSizeError):
        inflate.inflated_nbytes([stream], 0)


def test_a_bomb_is_not_inflated(backend: str) -> None:
    stream = zlib.compress(bytes(50_000_000))
    seen: list[int] = []
    with pytest.raises(StreamSizeError):
        seen.extend(len(piece) for piece in inflate.inflate([stream], 300_000))
    assert sum(seen) <= 300_000


def test_every_flipped_bit_is_noticed(backend: str) -> None:
    content = bytes(range(200))
    stream = zlib.compress(content)
    for bit in range(8 * len(stream)):
        changed = bytearray(stream)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            got = b"".join(inflate.inflate([bytes(changed)], 1000))
        except (StreamError, StreamSizeError):
            continue
        assert got == content  # only bits of the header that say nothing about the content


def test_a_preset_dictionary_is_refused(backend: str) -> None:
    stream = zlib.compressobj(zdict=b"dictionary")
    with pytest.raises(StreamError):
        list(inflate.inflate([stream.compress(b"dictionary") + stream.flush()], 1000))


def test_the_error_says_where() -> None:
    with pytest.raises(StreamError) as caught:
        list(inflate.inflate([b"no"], 10, path="p", key="k", offset=7))
    assert (caught.value.path, caught.value.key, caught.value.offset) == ("p", "k", 7)


def test_without_zlib_ng_the_standard_library_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, *args: Any) -> Any:
        if name.startswith("zlib_ng"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    assert zlib_backend.fastest() is zlib
    monkeypatch.setattr(inflate, "_backend", zlib_backend.fastest())
    assert b"".join(inflate.inflate([zlib.compress(b"abc")], 3)) == b"abc"


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=2000), repeat=st.integers(1, 60))
def test_deflate_round_trip(data: bytes, repeat: int) -> None:
    content = data * repeat
    assert zlib.decompress(deflate.compress(memoryview(content))) == content
    assert zlib.decompress(deflate.store(memoryview(content))) == content


def test_deflate_takes_what_pays(backend: str) -> None:
    noise = bytes(i * i * 7919 % 251 ^ (i >> 3) % 256 for i in range(100_000))
    assert len(deflate.compress(memoryview(bytes(100_000)))) < 1000
    assert len(deflate.compress(memoryview(b"a long repeated text, " * 5000))) < 2000
    assert len(deflate.compress(memoryview(noise))) <= len(deflate.store(memoryview(noise)))


def test_failing_at_the_kth_inflate_is_one_clean_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"LZR2" + simple_record("a") + simple_record("b")
    calls = 0
    k = -1
    real = inflate._backend

    class Failing:
        error = real.error

        @staticmethod
        def decompressobj() -> Any:
            nonlocal calls
            calls += 1
            if calls == k:
                raise MemoryError
            return real.decompressobj()

    def read_all() -> int:
        with lzr2.open(data) as file:
            return sum(file.get_tensor(key).size + file.read_inflated(key).indices.size for key in file.keys())

    monkeypatch.setattr(inflate, "_backend", Failing)
    whole = read_all()
    total = calls
    assert total == 4
    for k in range(1, total + 1):
        calls = 0
        with pytest.raises(MemoryError):
            read_all()
        assert calls == k
    k = -1
    assert read_all() == whole
