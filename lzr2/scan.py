"""Walks the record headers of a file and jumps over the payloads: where everything is, from few bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lzr2 import layout, sniff
from lzr2.byte_source import ByteSource
from lzr2.errors import (
    BlockLengthError,
    KeyFieldError,
    MalformedRecordError,
    NotLzr2Error,
    ShapeError,
    StreamSizeError,
    TooManyRecordsError,
    TruncatedError,
)
from lzr2.inflate import inflated_nbytes
from lzr2.record import RecordInfo

_WINDOW_NBYTES = 256  # holds the header of nearly every real record
_SMALL_RECORD_NBYTES = 1024
_SMALL_RECORDS_WINDOW_NBYTES = 1 << 16
_PIECE_NBYTES = 1 << 18


class _Window:
    """The bytes read last, so that a header, or several small records, cost one read. Counts bytes read."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.bytes_read = 0
        self.nbytes = _WINDOW_NBYTES
        self._start = 0
        self._data = b""

    def get(self, offset: int, nbytes: int, what: str, key: str | None = None, ahead: bool = False) -> bytes:
        """Exactly `nbytes` bytes at `offset`; with `ahead`, a whole window is read if any read is needed."""
        at = offset - self._start
        if at < 0 or at + nbytes > len(self._data):
            left = self.source.nbytes - offset
            if nbytes > left:
                raise TruncatedError(
                    f"the file ends inside {what}",
                    path=self.source.name,
                    key=key,
                    offset=offset,
                    found=f"{max(0, left)} bytes",
                    expected=f"{nbytes} bytes",
                )
            self._start, at = offset, 0
            self._data = self.source.read(offset, min(left, max(nbytes, self.nbytes if ahead else 0)))
            self.bytes_read += len(self._data)
        return self._data[at : at + nbytes]

    def u32(self, offset: int, what: str, key: str | None = None, ahead: bool = False) -> int:
        return int.from_bytes(self.get(offset, 4, what, key, ahead), "little")


class Scanner:
    """Yields the records of one source in file order; `bytes_read` counts what that took.

    With exact=True every record whose entry size the shape leaves open is inflated (bounded); otherwise
    only where both sizes let the rest of the file parse. Not to be shared between threads.
    """

    def __init__(self, source: ByteSource, *, exact: bool = False) -> None:
        self._source = source
        self._exact = exact
        self._window = _Window(source)
        self._inflated_bytes_read = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that were read so far."""
        return self._window.bytes_read + self._inflated_bytes_read

    def records(self) -> Iterator[RecordInfo]:
        """Raises NotLzr2Error, or a MalformedRecordError with the place of the first fault."""
        source, window = self._source, self._window
        check_signature(source, window)
        position = len(layout.MAGIC)
        count = 0
        while position < source.nbytes:
            if count == layout.MAX_RECORDS:
                most = f"at most {layout.MAX_RECORDS}"
                raise TooManyRecordsError("too many records", path=source.name, offset=position, expected=most)
            count += 1
            info = self._record(position)
            yield info
            small = info.end - position < _SMALL_RECORD_NBYTES
            window.nbytes = _SMALL_RECORDS_WINDOW_NBYTES if small else _WINDOW_NBYTES
            position = info.end

    def _record(self, position: int) -> RecordInfo:
        info = read_header(self._source, self._window, position)
        if not info.has_payload:
            return info
        sizes = self._fitting_sizes(info)
        if len(sizes) > 1 and info.overlay_count and not self._exact:
            parsing = [size for size in sizes if self._parses(_with_entries(info, size).end)]
            sizes = parsing if len(parsing) == 1 else sizes
        if len(sizes) > 1 and info.overlay_count:
            return _with_entries(info, self._inflated_entry_nbytes(info))
        return _with_entries(info, sizes[0])

    def _fitting_sizes(self, info: RecordInfo) -> list[int]:
        possible = layout.possible_entry_nbytes(info.n_rows, info.n_columns, info.d)
        left = self._source.nbytes - info.overlay_start
        fitting = [size for size in possible if info.overlay_count * size <= left]
        if fitting:
            return fitting
        raise TruncatedError(
            "the file ends inside the overlay",
            path=self._source.name,
            key=info.key,
            offset=info.overlay_start,
            found=f"{left} bytes",
            expected=f"{info.overlay_count} entries of {min(possible)} bytes",
        )

    def _parses(self, position: int) -> bool:
        """Whether a record, or the end of the file, can be at `position`."""
        if position == self._source.nbytes:
            return True
        try:
            info = read_header(self._source, self._window, position)
            if info.has_payload:
                self._fitting_sizes(info)
        except MalformedRecordError:
            return False
        return True

    def _inflated_entry_nbytes(self, info: RecordInfo) -> int:
        self._inflated_bytes_read += info.z_nbytes
        n_bytes = inflated_nbytes(
            stream_pieces(self._source, info),
            inflated_limit(info),
            path=self._source.name,
            key=info.key,
            offset=info.indices_start,
        )
        return layout.entry_nbytes(info.n_rows, n_blocks(self._source, info, n_bytes), info.d)


def check_signature(source: ByteSource, window: _Window | None = None) -> None:
    """Raises NotLzr2Error, saying what the file looks like, unless it starts with the signature."""
    nbytes = min(source.nbytes, len(layout.MAGIC))
    head = window.get(0, nbytes, "the signature", ahead=True) if window else source.read(0, nbytes)
    if head != layout.MAGIC:
        head = source.read(0, min(source.nbytes, sniff.HEAD_NBYTES))
        raise NotLzr2Error(
            "not an LZR2 file",
            path=source.name,
            offset=0,
            found=sniff.describe(head, source.nbytes),
            expected="a file that starts with 'LZR2'",
            advice="Give the path of an LZR2 weight file.",
        )


def read_header(source: ByteSource, window: _Window | None, position: int) -> RecordInfo:
    """The record at `position` with every length checked against the file; the entry size is still open.

    `end` is where the overlay starts (or the record ends, if it has no payload).
    """
    path = source.name
    window = window or _Window(source)
    key_nbytes = window.u32(position, "the length of a key", ahead=True)
    if key_nbytes > layout.MAX_KEY_NBYTES:
        most = f"at most {layout.MAX_KEY_NBYTES}"
        raise KeyFieldError("a key is too long", path=path, offset=position, found=key_nbytes, expected=most)
    raw = window.get(position + 4, key_nbytes, "a key", ahead=True)
    try:
        key = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found = raw[:32].hex(" ")
        raise KeyFieldError("a key isn't UTF-8", path=path, offset=position + 4, found=found) from error
    at = position + 4 + key_nbytes
    ndim = window.u32(at, "the number of dimensions", key, ahead=True)
    if ndim > layout.MAX_NDIM:
        most = f"at most {layout.MAX_NDIM}"
        raise ShapeError("too many dimensions", path=path, key=key, offset=at, found=ndim, expected=most)
    raw = window.get(at + 4, 4 * ndim + 1, "the dimensions", key, ahead=True)
    shape = tuple(int.from_bytes(raw[4 * i : 4 * i + 4], "little") for i in range(ndim))
    # Zeros count as ones: a shape of no weights may not have absurd dimensions either.
    if math.prod(n or 1 for n in shape) > layout.MAX_WEIGHTS:
        most = "at most 2^33 weights"
        raise ShapeError("tensor too large", path=path, key=key, offset=at + 4, found=shape, expected=most)
    payload = at + 4 + 4 * ndim + 1
    if raw[-1] != layout.HAS_PAYLOAD:
        return RecordInfo(key, shape, position, payload, payload)
    if not shape:
        some = "1 to 8"
        raise ShapeError("a payload without dimensions", path=path, key=key, offset=at, found=0, expected=some)
    return _read_lengths(source, window, RecordInfo(key, shape, position, payload, payload))


def _read_lengths(source: ByteSource, window: _Window, info: RecordInfo) -> RecordInfo:
    path, key, payload = source.name, info.key, info.payload_start
    d = window.u32(payload, "the block length", key, ahead=True)
    if not 1 <= d <= layout.MAX_D:
        legal = "1 to 32"
        raise BlockLengthError("block length d", path=path, key=key, offset=payload, found=d, expected=legal)
    z_at = payload + 4 + layout.tables_nbytes(info.n_rows, d)
    z_nbytes = window.u32(z_at, "the row tables", key)
    count_at = z_at + 4 + z_nbytes
    overlay_count = window.u32(count_at, "the zlib stream", key)
    return RecordInfo(key, info.shape, info.start, payload, count_at + 4, d, z_nbytes, overlay_count)


def _with_entries(info: RecordInfo, nbytes: int) -> RecordInfo:
    # Not dataclasses.replace: a million small records are scanned with this.
    end, i = info.overlay_start + info.overlay_count * nbytes, info
    return RecordInfo(i.key, i.shape, i.start, i.payload_start, end, i.d, i.z_nbytes, i.overlay_count, nbytes)


def stream_pieces(source: ByteSource, info: RecordInfo) -> Iterator[memoryview]:
    """The record's zlib stream, piece by piece."""
    start, end = info.indices_start, info.indices_start + info.z_nbytes
    for at in range(start, end, _PIECE_NBYTES):
        yield source.read_array(at, min(_PIECE_NBYTES, end - at)).data


def inflated_limit(info: RecordInfo) -> int:
    """The most bytes that the record's indices may take."""
    return 2 * info.n_rows * layout.max_blocks(info.n_columns, info.d)


def n_blocks(source: ByteSource, info: RecordInfo, inflated: int) -> int:
    """B, from the inflated size. Raises StreamSizeError unless that is a whole number of blocks a row."""
    row_nbytes = 2 * info.n_rows
    if inflated % row_nbytes if row_nbytes else inflated:
        raise StreamSizeError(
            "the inflated size isn't a whole number of blocks a row",
            path=source.name,
            key=info.key,
            offset=info.indices_start,
            found=f"{inflated} bytes",
            expected=f"a multiple of {row_nbytes} bytes",
        )
    return inflated // row_nbytes if row_nbytes else 0


def reread(source: ByteSource, info: RecordInfo) -> RecordInfo:
    """The record as its header in the file has it now, with the entry size that `info` assumes."""
    found = read_header(source, None, info.start)
    return _with_entries(found, info.entry_nbytes) if found.has_payload else found
