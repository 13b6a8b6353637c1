"""The table of a file's records: built by a scan, kept in a sidecar, never trusted beyond the file it was made of."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lzr2 import layout, sidecar
from lzr2.byte_source import ByteSource
from lzr2.errors import ChecksumError, Lzr2Error, ShapeError, StaleFileError
from lzr2.file_source import FileSource, open_source
from lzr2.fingerprint import Fingerprint, fingerprint, record_checksum
from lzr2.headers import describes
from lzr2.record import RecordInfo
from lzr2.scan import Scanner, check_signature

OnBytes = Callable[[int, int], None]
SECTIONS = ("header", "aux", "offset", "scale", "indices", "overlay")


@dataclass(frozen=True)
class Index:
    """Where every record of one file lies; immutable and safe to share between threads.

    `records` holds all of them in file order, repeated keys and records without payload included.
    `by_key` has the record that counts for each key: the last one with a payload. `bytes_read` and
    `seconds` are what making it took; `sidecar_path` is where it is kept (None: nowhere).
    """

    path: str
    records: tuple[RecordInfo, ...]
    fingerprint: Fingerprint | None
    file_nbytes: int
    bytes_read: int = 0
    seconds: float = 0.0
    from_sidecar: bool = False
    sidecar_path: Path | None = None

    @classmethod
    def build(cls, path: str | os.PathLike[str], *, checksum: bool = False, exact: bool = False) -> Index:
        """An index made from the file itself, nothing else read or written.

        checksum: also take a checksum of every record, which every decode then checks (reads the whole file; exact).
        exact: inflate every record whose overlay entry size its shape leaves open.
        Raises NotLzr2Error, MalformedRecordError, UnreadableFileError, MissingFileError.
        """
        with contextlib.closing(open_source(path)) as source:
            return cls.of_source(source, checksum=checksum, exact=exact)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        checksum: bool = False,
        anew: bool = False,
        on_bytes: OnBytes = lambda done, total: None,
    ) -> Index:
        """The index from the file's sidecar if that is valid; otherwise built, and saved where it can be.

        checksum: if there is no valid sidecar with checksums, take them (reads the whole file).
        anew: whatever sidecar there is, build it again and take its place: for a file that was changed on purpose.
        on_bytes: told, while checksums are taken, how many bytes of how many are done.
        Raises as `build`.
        """
        with contextlib.closing(open_source(path)) as source:
            if anew:
                return cls.of_source(source, checksum=checksum, on_bytes=on_bytes).save()
            return cls.of_file(source, checksum=checksum, on_bytes=on_bytes)

    @classmethod
    def of_file(
        cls,
        source: FileSource,
        *,
        checksum: bool = False,
        exact: bool = False,
        on_bytes: OnBytes = lambda done, total: None,
    ) -> Index:
        """As `open`, for a file that is already open."""
        saved = cls.saved(source)
        if saved is not None and not exact and (saved.has_checksums or not checksum):
            return saved
        # Where there were checksums they are taken again.
        checksum = checksum or (saved is not None and saved.has_checksums)
        index = cls.of_source(source, checksum=checksum, exact=exact, on_bytes=on_bytes)
        return index.save()

    @classmethod
    def of_source(
        cls,
        source: ByteSource,
        *,
        checksum: bool = False,
        exact: bool = False,
        on_bytes: OnBytes = lambda done, total: None,
    ) -> Index:
        """As `build`, for a source that is already open."""
        began = time.perf_counter()
        scanner = Scanner(source, exact=exact or checksum)
        records = tuple(scanner.records())
        bytes_read = scanner.bytes_read
        if checksum:
            records = tuple(_with_checksums(source, records, on_bytes))
            bytes_read += sum(r.record_nbytes for r in records)
        print_ = fingerprint(source) if isinstance(source, FileSource) else None
        source.check_unchanged()
        seconds = time.perf_counter() - began
        return cls(source.name, records, print_, source.nbytes, bytes_read, seconds)

    @classmethod
    def saved(cls, source: FileSource) -> Index | None:
        """The index from the file's sidecar, or None if there is none that is valid for exactly this file.

        Every record's header is compared with the file: a sidecar may be anyone's.
        Raises ChecksumError if it has checksums, and the file's head or tail differs though size, time and inode
        say that nobody wrote to it: that is what a failing disk does.
        """
        began = time.perf_counter()
        now = fingerprint(source)
        for place in sidecar.candidate_paths(source.path):
            try:
                records, saved = sidecar.load(place)
            except (OSError, ValueError, sidecar.DamagedSidecar):
                continue
            checksums = bool(records) and records[0].checksum is not None
            if saved != now and replace(saved, digest=now.digest) == now and checksums:
                raise ChecksumError(
                    "the file's head or tail has changed, though by its time nobody wrote to it",
                    path=source.name,
                    advice=f"Get the file anew. If the change was meant, delete {place}.",
                )
            # Checksums outlive a copy, or a new time: if the content is another after all, they say so.
            same_content = checksums and (saved.nbytes, saved.digest) == (now.nbytes, now.digest)
            if (saved == now or same_content) and _describe(records, source):
                seconds = time.perf_counter() - began
                index = cls(source.name, records, now, source.nbytes, 0, seconds, True, place)
                return index if saved == now else index.save()
        return None

    def save(self) -> Index:
        """This index with `sidecar_path` set: next to the file, else in the user's cache directory, else nowhere."""
        if self.fingerprint is None:
            return self
        for place in sidecar.candidate_paths(Path(self.path)):
            with contextlib.suppress(OSError):
                sidecar.save(place, self.records, self.fingerprint)
                return replace(self, sidecar_path=place)
        return self

    def check_describes(self, source: FileSource) -> None:
        """Raises StaleFileError unless this is the index of exactly this file, unchanged."""
        now = fingerprint(source)
        if self.fingerprint != now:
            raise StaleFileError(
                "the index was made of another file, or the file has changed since",
                path=source.name,
                advice="Build the index again.",
            )

    @cached_property
    def by_key(self) -> dict[str, RecordInfo]:
        """The record that counts for each key: the last one with a payload. In the order of the file."""
        found: dict[str, RecordInfo] = {}
        for record in self.records:
            if record.has_payload:
                found.pop(record.key, None)  # in file order of the record that counts
                found[record.key] = record
        return found

    def check_total(self) -> None:
        """Raises ShapeError if all tensors together take far more memory than the file."""
        total, most = 0, layout.max_allocation_nbytes(self.file_nbytes)
        for record in self.by_key.values():
            total += 2 * record.n_weights
            if total > most:
                raise ShapeError(
                    f"tensors of {2 * self.n_weights} bytes in a file of {self.file_nbytes}",
                    path=self.path,
                    key=record.key,
                    offset=record.start,
                    found=f"{total} bytes with this one",
                    expected=f"at most {most}",
                    advice="If they are meant, decode one after the other.",
                )

    @property
    def has_checksums(self) -> bool:
        """Whether every record has one, so that every decode compares it."""
        return bool(self.records) and all(r.checksum is not None for r in self.records)

    @property
    def n_weights(self) -> int:
        """Weights that the file sets: repeated keys counted once."""
        return sum(r.n_weights for r in self.by_key.values())

    def section_nbytes(self) -> dict[str, int]:
        """Bytes of the whole file by section; they add up to its size."""
        sums = dict.fromkeys(SECTIONS, 0)
        sums["header"] = 4
        for r in self.records:
            sums["header"] += r.header_nbytes
            sums["aux"] += r.aux_nbytes
            sums["offset"] += r.offset_nbytes
            sums["scale"] += r.scale_nbytes
            sums["indices"] += r.indices_nbytes
            sums["overlay"] += r.overlay_nbytes
        return sums


def _describe(records: tuple[RecordInfo, ...], source: FileSource) -> bool:
    try:
        check_signature(source)
        return all(describes(source, record) for record in records)
    except Lzr2Error:
        return False


def _with_checksums(source: ByteSource, records: tuple[RecordInfo, ...], on_bytes: OnBytes) -> Iterator[RecordInfo]:
    for r in records:
        yield replace(r, checksum=record_checksum(source, r))
        on_bytes(r.end, source.nbytes)


def duplicated_keys(records: Iterable[RecordInfo]) -> set[str]:
    """Keys that occur more than once."""
    seen: set[str] = set()
    twice: set[str] = set()
    for r in records:
        (twice if r.key in seen else seen).add(r.key)
    return twice
