"""How fast a file can be read, cold and warm, by the readers that the engine uses; cold only where that was checked."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lzr2.errors import IoFailedError
from lzr2.file_source import IoMode, open_source
from streamer.bench.pace import Pace
from streamer.bench.page_residency import Range, drop, resident_share

METHODS = ("pread", "mmap", "direct")
"""As `streamer.config.ReadMethod`, and past the page cache, which the engine doesn't use: it shows the device's own."""

PIECE = 4 << 20
"""Bytes of a read where nothing else says."""

_ALIGNMENT = 4096
_COLD = 0.01  # of the pages may be there all the same
_ReadRange = Callable[[int, int], None]


@dataclass(frozen=True)
class ReadSpeed:
    """One measurement.

    Attributes:
        method: one of `METHODS`.
        pattern: ``sequential``, or ``blocks``: as the engine reads, each thread the next piece.
        threads: that read at once.
        nbytes: read.
        seconds: from the first read's start to the last one's end.
        resident_before: the share that was in the page cache before; None: the system didn't tell.
        cold: nothing was there, as far as was seen; past the page cache always.
        problem: why there is no measurement; then bytes and seconds are 0.
    """

    method: str
    pattern: str
    threads: int
    nbytes: int
    seconds: float
    resident_before: float | None
    cold: bool
    problem: str | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second."""
        return self.nbytes / self.seconds if self.problem is None and self.seconds > 0 else None


def sequential(nbytes: int, start: int, total: int) -> list[Range]:
    """Pieces one after the other, from the start on, as many bytes as there are up to ``total``.

    Args:
        nbytes: of the file.
        start: of the first piece.
        total: most bytes of all.
    """
    end = min(nbytes, start + total)
    return [(at, min(PIECE, end - at)) for at in range(start, end, PIECE)]


def scattered(nbytes: int, total: int, part: int = 0, parts: int = 1) -> list[Range]:
    """Pieces evenly spread over the file in an order that jumps: each far from the one before.

    Args:
        nbytes: of the file.
        total: most bytes of all.
        part: which of the parts that have no piece in common, from 0.
        parts: how many of those there are.
    """
    pieces = list(range(0, nbytes, PIECE))[part::parts]
    stride = max(1, round(len(pieces) * 0.618))
    while len(pieces) > 1 and math.gcd(stride, len(pieces)) != 1:
        stride += 1
    jumping = [pieces[i * stride % len(pieces)] for i in range(len(pieces))]
    return _up_to([(at, min(PIECE, nbytes - at)) for at in jumping], total)


def in_turn(records: Sequence[Range], total: int, part: int = 0, parts: int = 1) -> list[Range]:
    """The records of one part of the model after the other, in the order given, up to so many bytes; at least one.

    Args:
        records: of the tensors in the order in which the engine reads them.
        total: most bytes of all.
        part: which part of the model, from 0: others are read where others start.
        parts: how many there are.
    """
    first = len(records) * part // parts
    return _up_to([*records[first:], *records[:first]], total)


def _up_to(ranges: Sequence[Range], total: int) -> list[Range]:
    chosen: list[Range] = []
    for one in ranges:
        if chosen and one[1] > total:
            break
        chosen.append(one)
        total -= one[1]
    return chosen


def read_speed(
    path: Path,
    method: str,
    pattern: str,
    ranges: Sequence[Range],
    *,
    threads: int,
    cold: bool,
    pace: Pace | None = None,
) -> ReadSpeed:
    """Reads the ranges once and takes the time. Memory: one range for each thread.

    Args:
        path: of a regular file.
        method: one of `METHODS`.
        pattern: what to call it.
        ranges: to read, in this order.
        threads: that take the next range each.
        cold: the whole file is dropped from the page cache first.
        pace: of an emulated storage; None: as fast as the real one.
    """
    if cold and method != "direct":
        drop(path, [(0, path.stat().st_size)])  # pages are kept in groups, which a part of the file may share
    resident = resident_share(path, ranges) if method != "direct" else None
    is_cold = method == "direct" or (cold and resident is not None and resident <= _COLD)
    try:
        with _reader(path, method, max(nbytes for _, nbytes in ranges)) as opened:
            seconds = _timed(opened, ranges, threads, pace)
    except IoFailedError as error:
        if method != "mmap" or error.offset is not None:  # a read that failed, not the mapping
            raise
        return _unread(method, pattern, threads, error.what)
    except OSError as error:
        if method != "direct" or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM):
            raise
        return _unread(method, pattern, threads, "the file system doesn't read past the page cache")
    return ReadSpeed(method, pattern, threads, sum(nbytes for _, nbytes in ranges), seconds, resident, is_cold)


def _unread(method: str, pattern: str, threads: int, problem: str) -> ReadSpeed:
    return ReadSpeed(method, pattern, threads, 0, 0.0, None, False, problem)


def _timed(
    opened: Callable[[], AbstractContextManager[_ReadRange]], ranges: Sequence[Range], threads: int, pace: Pace | None
) -> float:
    rest: Iterator[Range] = iter(ranges)
    lock = threading.Lock()
    began: list[float] = []
    ready = threading.Barrier(threads, lambda: began.append(time.perf_counter()))

    def read_while_any() -> None:
        with opened() as read:
            ready.wait()
            while True:
                with lock:
                    one = next(rest, None)
                if one is None:
                    return
                due = pace.ask(one[1]) if pace is not None else 0.0
                read(*one)
                if pace is not None:
                    pace.wait(due)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(_broken_off, ready, read_while_any) for _ in range(threads)]
        for one in running:
            one.result()
        return time.perf_counter() - began[0]


def _broken_off(ready: threading.Barrier, work: Callable[[], None]) -> None:
    """Whoever fails to begin lets the others go, and tells why."""
    try:
        work()
    except threading.BrokenBarrierError:
        return
    except BaseException:
        ready.abort()
        raise


@contextmanager
def _reader(path: Path, method: str, largest: int) -> Iterator[Callable[[], AbstractContextManager[_ReadRange]]]:
    """What opens a reader with a buffer of its own, for each thread."""
    if method == "direct":
        with _direct_file(path) as fd:
            yield lambda: _direct(fd, largest)
        return
    io: IoMode = "mmap" if method == "mmap" else "pread"
    source = open_source(path, io)

    @contextmanager
    def buffered() -> Iterator[_ReadRange]:
        buffer = np.ones(largest, np.uint8)  # written: fresh memory is given page by page

        def read(offset: int, nbytes: int) -> None:
            source.read_into(offset, buffer[:nbytes])
            source.done_with(offset, nbytes)

        yield read

    try:
        yield buffered
    finally:
        source.close()


@contextmanager
def _direct_file(path: Path) -> Iterator[int]:
    flag = getattr(os, "O_DIRECT", None)
    if flag is None or not hasattr(os, "preadv"):
        raise OSError(errno.EOPNOTSUPP, "no direct reads on this system")
    fd = os.open(path, os.O_RDONLY | flag)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _direct(fd: int, largest: int) -> Iterator[_ReadRange]:
    """Reads whole aligned pages into aligned memory, as direct reads have to be."""
    with contextlib.closing(mmap.mmap(-1, largest + 2 * _ALIGNMENT)) as memory:

        def read(offset: int, nbytes: int) -> None:
            first = offset // _ALIGNMENT * _ALIGNMENT
            end = -(-(offset + nbytes) // _ALIGNMENT) * _ALIGNMENT
            with memoryview(memory) as whole:
                done = 0
                while first + done < offset + nbytes:
                    with whole[done : end - first] as left:
                        n = os.preadv(fd, [left], first + done)
                    if n <= 0:
                        raise OSError(errno.EIO, "the file has become shorter")
                    done += n
                    if n % _ALIGNMENT and first + done < offset + nbytes:  # only the file's end isn't a whole page
                        raise OSError(errno.EIO, "the file has become shorter")

        yield read
