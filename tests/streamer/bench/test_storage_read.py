"""Reads are of the ranges asked for, by each method, and cold only where that was seen."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lzr2.errors import IoFailedError
from streamer.bench import storage_read
from streamer.bench.pace import Pace
from streamer.bench.storage_read import METHODS, PIECE, in_turn, read_speed, scattered, sequential

NBYTES = 3 * PIECE + 1234


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "file"
    with path.open("wb") as out:
        out.write(os.urandom(NBYTES))
        os.fsync(out.fileno())
    return path


@given(st.integers(1, 30 * PIECE), st.integers(0, 30 * PIECE), st.integers(1, 40 * PIECE))
def test_sequential_pieces_lie_one_after_the_other(nbytes, start, total):
    ranges = sequential(nbytes, start, total)
    assert sum(n for _, n in ranges) == max(0, min(total, nbytes - start))
    at = start
    for offset, n in ranges:
        assert (offset, 0 < n <= PIECE) == (at, True)
        at += n


@given(st.integers(1, 40 * PIECE), st.integers(1, 4))
def test_scattered_parts_cover_the_file_once(nbytes, parts):
    ranges = [one for part in range(parts) for one in scattered(nbytes, nbytes, part, parts)]
    assert sorted(ranges) == [(at, min(PIECE, nbytes - at)) for at in range(0, nbytes, PIECE)]


def test_scattered_pieces_jump_and_end_at_the_limit():
    ranges = scattered(100 * PIECE, 50 * PIECE)
    assert len(ranges) == 50
    assert all(abs(a - b) > 10 * PIECE for (a, _), (b, _) in itertools.pairwise(ranges))


def test_records_come_in_turn_from_where_the_part_starts():
    records = [(i * 100, 10) for i in range(10)]
    assert in_turn(records, 25) == records[:2]
    assert in_turn(records, 5) == records[:1]
    assert in_turn(records, 1000, 1, 2) == records[5:] + records[:5]


@pytest.fixture
def given(monkeypatch):
    """What the readers really gave: where, and the bytes."""
    seen: list[tuple[int, bytes]] = []
    real_open = storage_read.open_source
    real_preadv = getattr(os, "preadv", None)

    def spied_open(path, io):
        source = real_open(path, io)
        real_read = source.read_into

        def read_into(offset, out):
            real_read(offset, out)
            seen.append((offset, bytes(out)))

        source.read_into = read_into
        return source

    def spied_preadv(fd, buffers, offset):
        n = real_preadv(fd, buffers, offset)
        seen.append((offset, bytes(buffers[0][:n])))
        return n

    monkeypatch.setattr(storage_read, "open_source", spied_open)
    if real_preadv is not None:
        monkeypatch.setattr("streamer.bench.storage_read.os.preadv", spied_preadv)
    return seen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_method_reads_all_it_is_told_to(file, given, method, threads):
    ranges = [(0, 10), (4095, 2), (NBYTES - 77, 77), (PIECE, PIECE)]
    found = read_speed(file, method, "blocks", ranges, threads=threads, cold=True)
    if method == "direct" and found.problem is not None:
        assert found.rate is None
        return
    assert (found.method, found.pattern, found.threads) == (method, "blocks", threads)
    assert found.nbytes == sum(n for _, n in ranges)
    assert found.rate == pytest.approx(found.nbytes / found.seconds)
    assert found.problem is None
    content = file.read_bytes()
    assert all(content[offset : offset + len(data)] == data for offset, data in given)
    for offset, nbytes in ranges:
        assert any(at <= offset and offset + nbytes <= at + len(data) for at, data in given)


def test_a_direct_read_that_ends_in_the_middle_of_the_file_is_no_measurement(file, monkeypatch):
    monkeypatch.setattr("streamer.bench.storage_read.os.preadv", lambda _fd, buffers, _at: min(100, len(buffers[0])))
    with pytest.raises(OSError, match="shorter"):
        read_speed(file, "direct", "sequential", [(0, PIECE)], threads=1, cold=True)


def test_cold_is_claimed_only_where_nothing_was_there(file, monkeypatch):
    ranges = [(0, PIECE)]
    for share, cold in ((0.0, True), (0.5, False), (None, False)):
        monkeypatch.setattr("streamer.bench.storage_read.resident_share", lambda *_, share=share: share)
        found = read_speed(file, "pread", "sequential", ranges, threads=1, cold=True)
        assert (found.cold, found.resident_before) == (cold, share)
    monkeypatch.setattr("streamer.bench.storage_read.resident_share", lambda *_: 0.0)
    assert not read_speed(file, "pread", "sequential", ranges, threads=1, cold=False).cold


def test_warm_reads_drop_nothing(file, monkeypatch):
    monkeypatch.setattr("streamer.bench.storage_read.drop", lambda *_: pytest.fail("dropped"))
    assert read_speed(file, "mmap", "sequential", [(0, PIECE)], threads=1, cold=False).rate


def test_a_file_system_that_reads_only_through_its_cache_is_told(file, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("streamer.bench.storage_read.os.preadv", refuse)
    found = read_speed(file, "direct", "sequential", [(0, PIECE)], threads=2, cold=True)
    assert found.problem is not None
    assert not found.cold
    assert found.rate is None


def test_a_file_that_cannot_be_mapped_is_told_and_other_readers_go_on(file, monkeypatch):
    real = mmap.mmap

    def refuse(fd: int, *rest: object, **named: object) -> mmap.mmap:
        if fd >= 0:
            raise OSError(errno.ENODEV, "No such device")
        return real(fd, *rest, **named)

    monkeypatch.setattr("mmap.mmap", refuse)
    found = read_speed(file, "mmap", "blocks", [(0, PIECE)], threads=2, cold=True)
    assert "can't be mapped" in str(found.problem)
    assert (found.rate, found.cold) == (None, False)
    plain = read_speed(file, "pread", "blocks", [(0, PIECE)], threads=2, cold=True)
    assert plain.rate
    assert (plain.resident_before, plain.cold) == (None, False)


def test_a_mapped_read_that_fails_is_raised(file, monkeypatch):
    def fail(*_: object) -> None:
        raise IoFailedError("reading failed", path=file, offset=0)

    monkeypatch.setattr("lzr2.file_source.MmapSource.read_into", fail)
    with pytest.raises(IoFailedError):
        read_speed(file, "mmap", "blocks", [(0, PIECE)], threads=1, cold=False)


def test_other_faults_are_raised(file, monkeypatch):
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("streamer.bench.storage_read.os.preadv", fail)
    with pytest.raises(OSError, match="Input/output"):
        read_speed(file, "direct", "sequential", [(0, PIECE)], threads=1, cold=True)


def test_a_reader_that_cannot_begin_stops_the_others(file, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("streamer.bench.storage_read.np.ones", fail)
    with pytest.raises(OSError, match="no memory"):
        read_speed(file, "pread", "sequential", [(0, 10)], threads=3, cold=False)


def test_an_emulated_storage_is_no_faster_than_its_speed(file):
    started = time.perf_counter()
    found = read_speed(
        file, "pread", "sequential", sequential(NBYTES, 0, 2 * PIECE), threads=2, cold=False, pace=Pace(40 * PIECE)
    )
    assert time.perf_counter() - started >= 0.049
    assert found.rate is not None
    assert found.rate <= 41 * PIECE
