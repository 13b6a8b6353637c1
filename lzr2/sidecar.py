"""Keeps an index in a JSON file; what is read back is a stranger's data until every number is checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs
import xxhash

from lzr2 import layout
from lzr2.fingerprint import Fingerprint
from lzr2.record import RecordInfo
from lzr2.temporary import create_beside

_FORMAT = "lzr2-index"
_VERSION = 2
_COLUMNS = ["key", "shape", "d", "z_nbytes", "overlay_count", "entry_nbytes", "checksum"]
_MAX_LINE_NBYTES = 6 * layout.MAX_KEY_NBYTES + 1024  # a character of a key takes six, escaped
_SUFFIX = ".lzr2.index.json"


class DamagedSidecar(Exception):
    """The sidecar can't be used; never leaves the package: the index is built again."""


def candidate_paths(path: Path) -> Iterator[Path]:
    """Where a sidecar may be: next to the file, then in the user's cache directory."""
    stem = path.name[: -len(".lzr2")] if path.name.lower().endswith(".lzr2") else path.name
    yield path.with_name(stem + _SUFFIX)
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    yield Path(platformdirs.user_cache_dir("lzr2")) / "index" / f"{stem[:80]}-{digest}{_SUFFIX}"


def save(place: Path, records: tuple[RecordInfo, ...], print_: Fingerprint) -> None:
    """Writes the sidecar whole or not at all. Raises OSError."""
    file = {
        "nbytes": print_.nbytes,
        "mtime_ns": print_.mtime_ns,
        "inode": print_.inode,
        "digest": print_.digest,
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = create_beside(place)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(text_of(file, [_row(r) for r in records]))
        temporary.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove(path: Path) -> None:
    """What sidecars say of a file at this path, or at the one that it links to, is forgotten. Never raises OSError."""
    for place in {*candidate_paths(path), *candidate_paths(path.resolve())}:
        with contextlib.suppress(OSError):
            place.unlink()


def text_of(file: dict[str, Any], rows: list[Any]) -> bytes:
    """The sidecar's text: JSON, a line for each record, and at its end a digest of all before.

    Lines, so that whoever reads it can stop at the first that is wrong, before memory is full.
    """
    head = {"format": _FORMAT, "version": _VERSION, "file": file, "columns": _COLUMNS, "records": []}
    lines = [_json(head)[: -len("]}")], ",\n".join(_json(row) for row in rows), ""]
    body = "\n".join(lines if rows else [lines[0], ""]).encode("ascii")
    return body + _end(xxhash.xxh3_128(body))


def load(place: Path) -> tuple[tuple[RecordInfo, ...], Fingerprint]:
    """The records and the fingerprint of the file they describe, every number consistent with the others.

    Offsets aren't in the sidecar: they follow from the lengths, must join without a gap and end where the
    file ends. Whether the file's headers say the same is the caller's to check. Raises DamagedSidecar or OSError.
    """
    try:
        with _open(place) as lines:
            digest = xxhash.xxh3_128()
            first = _line(lines)
            digest.update(first)
            content = json.loads(first + b"]}")
            if content["format"] != _FORMAT or content["version"] != _VERSION:
                raise DamagedSidecar("another format or version")
            file = content["file"]
            print_ = Fingerprint(
                nbytes=_natural(file["nbytes"]),
                mtime_ns=_integer(file["mtime_ns"]),
                inode=_natural(file["inode"]),
                digest=_text(file["digest"]),
            )
            return tuple(_records(lines, digest, print_.nbytes)), print_
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError) as error:
        raise DamagedSidecar(str(error)) from error


def _open(place: Path) -> BinaryIO:
    file = os.fdopen(os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DamagedSidecar("not a regular file")
    return file


def _line(lines: BinaryIO) -> bytes:
    line = lines.readline(_MAX_LINE_NBYTES + 1)
    if len(line) > _MAX_LINE_NBYTES or not line:
        raise DamagedSidecar("a line that is too long, or missing")
    return line


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _end(digest: Any) -> bytes:
    return f'],"digest":"{digest.hexdigest()}"}}\n'.encode("ascii")


def _row(r: RecordInfo) -> list[Any]:
    if not r.has_payload:
        return [r.key, list(r.shape)] if r.checksum is None else [r.key, list(r.shape), r.checksum]
    row = [r.key, list(r.shape), r.d, r.z_nbytes, r.overlay_count, r.entry_nbytes]
    return row if r.checksum is None else [*row, r.checksum]


def _records(lines: BinaryIO, digest: Any, nbytes: int) -> Iterator[RecordInfo]:
    position, count, with_checksum = len(layout.MAGIC), 0, 0
    while not (line := _line(lines)).startswith(b"]"):
        digest.update(line)
        info = _record(json.loads(line.rstrip(b",\n")), position)
        position = info.end
        count += 1
        with_checksum += info.checksum is not None
        if position > nbytes or count > layout.MAX_RECORDS:
            raise DamagedSidecar("more records than the file has room for")
        yield info
    if position != nbytes:
        raise DamagedSidecar("the records don't fill the file")
    if with_checksum not in (0, count):
        raise DamagedSidecar("checksums of some records only")
    if line != _end(digest) or lines.read(1):
        raise DamagedSidecar("its own digest differs")


def _record(row: Any, position: int) -> RecordInfo:
    key, dims, *numbers = row
    shape = tuple(_natural(n) for n in dims)
    key_nbytes = len(_text(key).encode("utf-8"))
    if key_nbytes > layout.MAX_KEY_NBYTES or len(shape) > layout.MAX_NDIM or max(shape, default=0) >= 2**32:
        raise DamagedSidecar("key or shape")
    payload = position + 4 + key_nbytes + 4 + 4 * len(shape) + 1
    fields = [_natural(n) for n in numbers]
    if len(fields) < 2:
        return RecordInfo(key, shape, position, payload, payload, checksum=fields[0] if fields else None)
    d, z_nbytes, overlay_count, entry_nbytes, *checksum = fields
    sizes = (layout.NARROW_ENTRY_NBYTES, layout.WIDE_ENTRY_NBYTES)
    if not shape or not 1 <= d <= layout.MAX_D or entry_nbytes not in sizes or len(checksum) > 1:
        raise DamagedSidecar("a number out of range")
    end = payload + 4 + layout.tables_nbytes(shape[0], d) + 4 + z_nbytes + 4 + overlay_count * entry_nbytes
    sum_ = checksum[0] if checksum else None
    return RecordInfo(key, shape, position, payload, end, d, z_nbytes, overlay_count, entry_nbytes, sum_)


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) >= 2**128:  # as long as the inodes of some file systems
        raise DamagedSidecar("a number that is none")
    return value


def _natural(value: Any) -> int:
    if _integer(value) < 0:
        raise DamagedSidecar("a negative number")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamagedSidecar("a text that is none")
    return value
