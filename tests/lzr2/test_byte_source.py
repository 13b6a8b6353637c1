"""Reads are whole or errors, whatever is behind them, and are told of."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lzr2
from lzr2 import byte_source, errors
from lzr2.byte_source import ByteSource, BytesSource
from lzr2.file_source import open_source

DATA = bytes(range(256)) * 100


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture(params=["pread", "mmap", "bytes", "seek"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ByteSource]:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    if request.param == "seek":  # as on Windows
        monkeypatch.delattr(os, "preadv")
        monkeypatch.delattr(os, "pread")
    opened = (
        BytesSource(DATA)
        if request.param == "bytes"
        else open_source(path, {"seek": "pread"}.get(request.param, request.param))
    )
    yield opened
    opened.close()


def test_contract(source: ByteSource) -> None:
    assert source.nbytes == len(DATA)
    assert source.read(0, 0) == b""
    assert source.read(len(DATA), 0) == b""
    assert source.read(3, 5) == DATA[3:8]
    assert source.read_array(250, 20).tobytes() == DATA[250:270]
    out = np.zeros(len(DATA), np.uint8)
    source.read_into(0, out)
    assert out.tobytes() == DATA
    source.will_need(0, 10**9)
    source.done_with(0, 10**9)
    source.done_with(5000, 9000)
    source.check_unchanged()
    assert source.read(0, 4) == DATA[:4]


def test_pieces_are_the_range_in_order(source: ByteSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_source, "_PIECE_NBYTES", 1000)
    pieces = [(start, piece.tobytes()) for start, piece in source.read_pieces(5, 2500)]
    assert pieces == [(0, DATA[5:1005]), (1000, DATA[1005:2005]), (2000, DATA[2005:2505])]
    assert list(source.read_pieces(len(DATA), 0)) == []
    with pytest.raises(errors.TruncatedError):
        next(source.read_pieces(len(DATA) - 2000, 2001))


def test_pieces_are_compared(source: ByteSource) -> None:
    assert source.has()
    assert source.has((0, DATA[:3]), (300, DATA[300:500]), (len(DATA), b""))
    assert not source.has((0, DATA[:3]), (300, DATA[301:500]))
    with pytest.raises(errors.TruncatedError):
        source.has((len(DATA) - 1, DATA[-1:] + b"x"))
    source.close()
    with pytest.raises(errors.ClosedError):
        source.has((0, DATA[:3]))


@pytest.mark.parametrize(("offset", "nbytes"), [(0, len(DATA) + 1), (len(DATA), 1), (-1, 1), (0, -1), (2**62, 2**62)])
def test_ranges_outside_fail_before_anything_is_allocated(source: ByteSource, offset: int, nbytes: int) -> None:
    with pytest.raises(errors.TruncatedError):
        source.read(offset, nbytes)


def test_closed(source: ByteSource) -> None:
    source.close()
    source.close()
    with pytest.raises(errors.ClosedError, match="closed"):
        source.read(0, 1)
    source.will_need(0, 10)
    source.done_with(0, 10)


def test_threads_read_what_is_there(source: ByteSource) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            offset = int(rng.integers(0, len(DATA) - 100))
            if source.read(offset, 100) != DATA[offset : offset + 100]:
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_big_endian_machines_are_refused() -> None:
    with pytest.raises(lzr2.Lzr2Error, match="little-endian"):
        byte_source.require_little_endian("big")


def test_reads_are_told_of_with_their_times_on_the_thread_that_makes_them(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    told = []
    source = open_source(path)
    source.read(0, 10)
    source.on_read = lambda start, end, nbytes: told.append((end >= start, nbytes, threading.get_ident()))
    source.read(50, 7)
    source.on_read = None
    source.read(0, 1)
    source.close()
    assert told == [(True, 7, threading.get_ident())]
