"""Whether a file is still the one that an index describes: size, time, inode, digest of head and tail."""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from lzr2.byte_source import ByteSource
from lzr2.file_source import FileSource
from lzr2.record import RecordInfo

_SAMPLE_NBYTES = 4096
_PIECE_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Differs, as good as surely, for two files that aren't the same unchanged file."""

    nbytes: int
    mtime_ns: int
    inode: int
    digest: str


def fingerprint(source: FileSource) -> Fingerprint:
    """Reads the first and the last 4 KiB."""
    n = min(_SAMPLE_NBYTES, source.nbytes)
    digest = xxhash.xxh3_128(source.read(0, n))
    digest.update(source.read(source.nbytes - n, n))
    return Fingerprint(source.nbytes, source.state.mtime_ns, source.state.inode, digest.hexdigest())


def record_checksum(source: ByteSource, info: RecordInfo) -> int:
    """xxh3 (64 bit) of every byte of the record, its header included; reads them all, a megabyte at a time."""
    digest = xxhash.xxh3_64()
    for at in range(info.start, info.end, _PIECE_NBYTES):
        digest.update(source.read_array(at, min(_PIECE_NBYTES, info.end - at)).data)
    return digest.intdigest()
