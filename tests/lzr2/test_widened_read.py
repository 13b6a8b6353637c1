"""Reading and widening in one loop is reading, then widening."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lzr2 import errors, past_caches, widened_read
from lzr2.byte_source import ByteSource, BytesSource
from lzr2.file_source import IoMode, open_source

N = 300_000
VALUES = np.random.default_rng(0).standard_normal(N, np.float32).astype(np.float16)
HEAD = b"12345"  # so that no value is aligned in the file
possible = pytest.mark.skipif(not widened_read.IS_POSSIBLE, reason="this system reads piece by piece")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "halves"
    found.write_bytes(HEAD + VALUES.tobytes())
    return found


@pytest.fixture(params=["pread", "piece by piece", "mmap", "bytes"])
def source(request: pytest.FixtureRequest, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ByteSource]:
    if request.param == "piece by piece":  # as on Windows
        monkeypatch.setattr(widened_read, "IS_POSSIBLE", False)
    if request.param == "bytes":
        opened: ByteSource = BytesSource(path.read_bytes())
    else:
        opened = open_source(path, "mmap" if request.param == "mmap" else "pread")
    yield opened
    opened.close()


@pytest.mark.parametrize(("first", "n"), [(0, N), (0, 0), (N, 0), (7, 100), (1, 70_000), (N - 1, 1)])
@pytest.mark.parametrize("worth", [0, past_caches.WORTH_NBYTES])
def test_any_part(source: ByteSource, first: int, n: int, worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_caches, "WORTH_NBYTES", worth)
    out = np.full(n + 2, 7, np.float32)
    source.read_widened_into(len(HEAD) + 2 * first, out[1:-1])
    assert np.array_equal(out[1:-1], VALUES[first : first + n].astype(np.float32))
    assert out[0] == out[-1] == 7


def test_reads_are_told_of(source: ByteSource) -> None:
    told: list[tuple[float, float, int]] = []
    source.on_read = lambda start, end, nbytes: told.append((start, end, nbytes))
    source.read_widened_into(len(HEAD), np.empty(N, np.float32))
    assert sum(nbytes for _, _, nbytes in told) == 2 * N
    assert all(start <= end for start, end, _ in told)


def test_a_range_beyond_the_end_is_refused(source: ByteSource) -> None:
    with pytest.raises(errors.TruncatedError):
        source.read_widened_into(len(HEAD) + 2, np.empty(N, np.float32))
    with pytest.raises(errors.TruncatedError):
        source.read_widened_into(-2, np.empty(1, np.float32))


@pytest.mark.parametrize(
    "out",
    [
        np.empty(4, np.float64),
        np.empty((2, 2), np.float32),
        np.empty(8, np.float32)[::2],
        np.broadcast_to(np.float32(0), 4),
        np.frombuffer(bytearray(18), np.float32, 4, offset=2),
    ],
)
def test_other_arrays_are_refused(source: ByteSource, out: Any) -> None:
    with pytest.raises(errors.OutputArrayError):
        source.read_widened_into(0, out)


def test_a_closed_file_is_not_read(source: ByteSource) -> None:
    source.close()
    with pytest.raises(errors.ClosedError):
        source.read_widened_into(0, np.empty(1, np.float32))


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_a_file_that_became_shorter_is_an_error(io: IoMode, path: Path) -> None:
    source = open_source(path, io)
    os.truncate(path, 2 * N // 2)
    with pytest.raises(errors.StaleFileError):
        source.read_widened_into(len(HEAD), np.empty(N, np.float32))
    source.close()


@possible
def test_what_the_system_refuses_ends_the_loop_without_a_signal(path: Path) -> None:
    out = np.zeros(N, np.float32)
    assert widened_read.read_widened(-1, 0, out) == (0, pytest.approx(0.0, abs=1.0))
    with path.open("rb") as file:
        n, seconds = widened_read.read_widened(file.fileno(), len(HEAD) + 2 * N - 100_000, out)
    assert n == 50_000  # one whole piece, and one that ends early
    assert seconds >= 0
    assert np.array_equal(out[:n], VALUES[N - 50_000 :].astype(np.float32))
    assert not out[n:].any()
    with path.open("rb") as file:
        n, seconds = widened_read.read_widened(file.fileno(), len(HEAD) + 2 * N - 3, out)
    assert n == 1  # and half a value


@possible
def test_what_the_loop_left_is_read_piece_by_piece(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads_some(fd: int, offset: int, out: Any) -> tuple[int, float]:
        out[:1000] = VALUES[:1000]
        return 1000, 0.0

    monkeypatch.setattr(widened_read, "read_widened", reads_some)
    source = open_source(path)
    told: list[int] = []
    source.on_read = lambda start, end, nbytes: told.append(nbytes)
    out = np.zeros(N, np.float32)
    source.read_widened_into(len(HEAD), out)
    source.close()
    assert np.array_equal(out, VALUES.astype(np.float32))
    assert told == [2000, 2 * N - 2000]


def test_threads_share_a_source(source: ByteSource) -> None:
    outs = [np.zeros(N, np.float32) for _ in range(4)]
    threads = [threading.Thread(target=source.read_widened_into, args=(len(HEAD), out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(out, VALUES.astype(np.float32)) for out in outs)
