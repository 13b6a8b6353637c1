"""All measurements of one file's storage: each reader, cold and warm, in long reads and as the engine reads."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import lzr2
from lzr2.errors import Lzr2Error
from streamer.bench.pace import Pace
from streamer.bench.page_residency import Range
from streamer.bench.storage_kind import Storage, StorageKind, find_storage
from streamer.bench.storage_read import METHODS, PIECE, ReadSpeed, in_turn, read_speed, scattered, sequential
from streamer.errors import SettingError, printable

SEQUENTIAL, BLOCKS = "sequential", "blocks"
_SECONDS = 2.0  # for one measurement, about
_PROBES = 4  # pieces

OnRead = Callable[[ReadSpeed], None]


@dataclass(frozen=True)
class StorageReport:
    """What one file's storage gives.

    Attributes:
        path: of the file.
        nbytes: of the file.
        storage: that it lies on.
        reads: that were to be cold, then those that were to be warm.
    """

    path: Path
    nbytes: int
    storage: Storage
    reads: tuple[ReadSpeed, ...]

    @property
    def disk(self) -> float | None:
        """Bytes a second that a step gets of weights that aren't in memory; None: nothing could be read cold."""
        in_memory = self.storage.kind is StorageKind.MEMORY  # its files are always there, and as fast as that
        wanted = [
            one for one in self.reads if (one.cold or in_memory) and one.pattern == BLOCKS and one.rate is not None
        ]
        by_method = {one.method: one.rate for one in wanted}
        return next((by_method[method] for method in METHODS if method in by_method), None)

    @property
    def not_cold(self) -> tuple[ReadSpeed, ...]:
        """Reads that were to be cold and weren't, or not for sure."""
        if self.storage.kind is StorageKind.MEMORY:
            return ()
        return tuple(one for one in self.reads[: _cold_count()] if not one.cold and one.problem is None)


def measure_storage(path: Path, most_nbytes: int, threads: int, on_read: OnRead) -> StorageReport:
    """Reads parts of the file again and again; takes about two seconds for each measurement.

    Args:
        path: of a file; an LZR2 file's records are read as blocks, others in pieces.
        most_nbytes: to read in one measurement.
        threads: that read blocks at once.
        on_read: told each measurement.

    Raises:
        SettingError: the path is nothing that can be read from.
    """
    nbytes = check_readable(path)
    storage = find_storage(path)
    records = _records(path)
    least = min(_PROBES * PIECE, most_nbytes)
    probed = read_speed(path, "pread", SEQUENTIAL, sequential(nbytes, 0, least), threads=1, cold=True)
    total = max(least, min(most_nbytes, int((probed.rate or 0.0) * _SECONDS)))
    reads = []
    for number, (method, pattern, cold) in enumerate(_measurements()):
        ranges = _ranges(nbytes, records, pattern, total, number)
        at_once = threads if pattern == BLOCKS else 1
        if not cold:
            read_speed(path, method, pattern, ranges, threads=at_once, cold=False)  # from now on it is cached
        seen = read_speed(path, method, pattern, ranges, threads=at_once, cold=cold)
        if storage.caches_apart and seen.problem is None:
            seen = replace(seen, cold=False, resident_before=None)  # what the page cache tells isn't all
        reads.append(seen)
        on_read(reads[-1])
    return StorageReport(path, nbytes, storage, tuple(reads))


def measure_emulated(
    path: Path, most_nbytes: int, threads: int, speed: float, on_read: OnRead
) -> tuple[ReadSpeed, ...]:
    """Reads as from a storage of that speed, whatever the real one is: what the emulation gives, to be compared.

    Args:
        path: of a file.
        most_nbytes: to read in one measurement.
        threads: that read blocks at once.
        speed: bytes a second.
        on_read: told each measurement.

    Raises:
        SettingError: the path is nothing that can be read from.
    """
    nbytes = check_readable(path)
    records = _records(path)
    total = max(PIECE, min(most_nbytes, int(speed * _SECONDS)))
    reads = []
    for pattern, at_once in ((SEQUENTIAL, 1), (BLOCKS, threads)):
        ranges = _ranges(nbytes, records, pattern, total, 0)
        read_speed(path, "pread", pattern, ranges, threads=at_once, cold=False)  # the real one shall not count
        reads.append(read_speed(path, "pread", pattern, ranges, threads=at_once, cold=False, pace=Pace(speed)))
        on_read(reads[-1])
    return tuple(reads)


def check_readable(path: Path) -> int:
    """The bytes of a regular file.

    Raises:
        SettingError: it isn't one, isn't there, or is empty.
    """
    shown = printable(str(path))
    try:
        found = path.stat()
    except FileNotFoundError:
        raise SettingError(f"{shown} isn't there.", "Name a file on the storage that is to be measured.") from None
    if stat.S_ISDIR(found.st_mode):
        raise SettingError(f"{shown} is a folder.", "Name a large file in it: that is what is read.")
    if not stat.S_ISREG(found.st_mode):
        raise SettingError(f"{shown} is no regular file: nothing can be measured on it.")
    if not found.st_size:
        raise SettingError(f"{shown} is empty.", "Name a large file on the same storage.")
    return found.st_size


def _measurements() -> Iterator[tuple[str, str, bool]]:
    """Reader, pattern, and whether it has to be cold. Past the page cache nothing is ever warm."""
    for cold in (True, False):
        for pattern in (SEQUENTIAL, BLOCKS):
            for method in METHODS:
                if cold or method != "direct":
                    yield method, pattern, cold


def _cold_count() -> int:
    return sum(cold for _, _, cold in _measurements())


def _ranges(nbytes: int, records: list[Range], pattern: str, total: int, number: int) -> list[Range]:
    """Each measurement has a part of its own, where the file is large enough: what one read, others don't find."""
    parts = sum(1 for _ in _measurements())
    if pattern == SEQUENTIAL:
        start = min(nbytes * number // parts, max(0, nbytes - total)) // PIECE * PIECE
        return sequential(nbytes, start, total)
    if records:
        return in_turn(records, total, number, parts)
    parts = min(parts, -(-nbytes // PIECE))
    return scattered(nbytes, total, number % parts, parts)


def _records(path: Path) -> list[Range]:
    """Of an LZR2 file; none of any other."""
    try:
        with lzr2.open(path) as file:
            found = [file.record(key) for key in file.keys()]
    except Lzr2Error:
        return []
    return [(one.start, one.record_nbytes) for one in found]
