"""A record's lattice indices: its zlib stream inflated and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import inflate, layout, scan
from lzr2.byte_source import ByteSource
from lzr2.errors import EntrySizeError, IndexValueError, StreamSizeError
from lzr2.record import RecordInfo

Array = npt.NDArray[Any]
OnRows = Callable[[npt.NDArray[np.uint16], int, int], None]

# Streams that zlib has to inflate and that may grow to more are counted before they are kept.
_COUNT_FIRST_NBYTES = 16 << 20
# A stream that grows more isn't one of literals, and may be a bomb.
_MOST_GROWTH = 8
_LEAST_NBYTES = 16 << 10  # below it, starting the own decoder isn't worth it


def read_indices(
    source: ByteSource, info: RecordInfo, on_rows: OnRows | None = None, on_restart: Callable[[], None] | None = None
) -> npt.NDArray[np.uint16]:
    """The record's indices, uint16 [C, B], whole and all legal.

    on_rows(indices, first, end): called as rows of the sane B are complete. on_restart: called when what `on_rows` was
    given so far will be given again; it returns when nothing reads that any more.
    Raises StreamError, StreamSizeError, EntrySizeError, IndexValueError.
    """
    raw = _read_literals(source, info, on_rows)
    if raw is None:
        if on_restart is not None:
            on_restart()
        raw = _read_any(source, info, on_rows)
    n_blocks = _n_blocks(source, info, raw.nbytes)
    indices = raw.view(np.uint16).reshape(info.n_rows, n_blocks)
    limit = layout.n_index_values(info.d)
    if indices.size and int(indices.max()) >= limit:
        row = int(np.argmax(indices.max(axis=1) >= limit))
        raise bad_index(source.name, info.key, info.indices_start, row, info.d)
    return indices


def check_indices(source: ByteSource, info: RecordInfo) -> int:
    """B of the record; its stream is sound and its indices are all legal. Raises as `read_indices`.

    Memory: the indices, where the size of the file justifies as many; of a larger tensor, one piece after the other.
    """
    if _sane_nbytes(info) <= layout.max_allocation_nbytes(source.nbytes):
        return int(read_indices(source, info).shape[1])
    limit, first_bad = layout.n_index_values(info.d), -1
    total, odd = 0, b""
    for piece in inflate.inflate(scan.stream_pieces(source, info), scan.inflated_limit(info), **_where(source, info)):
        values = np.frombuffer(odd + piece, np.uint16, (len(odd) + len(piece)) // 2)
        if first_bad < 0 and values.size and int(values.max()) >= limit:
            first_bad = total // 2 + int(np.argmax(values >= limit))
        total += len(piece)
        odd = piece[-1:] if total % 2 else b""
    n_blocks = _n_blocks(source, info, total)
    if first_bad >= 0:
        raise bad_index(source.name, info.key, info.indices_start, first_bad // n_blocks, info.d)
    return n_blocks


def bad_index(path: str | None, key: str, offset: int | None, row: int, d: int) -> IndexValueError:
    """The error for an index that stands for no d digits."""
    legal = f"below 3^{d} = {3**d}"
    return IndexValueError(f"an index in row {row} is too large", path=path, key=key, offset=offset, expected=legal)


def _n_blocks(source: ByteSource, info: RecordInfo, nbytes: int) -> int:
    """B of a stream of so many bytes. Raises StreamSizeError, EntrySizeError."""
    n_blocks = scan.n_blocks(source, info, nbytes)
    entry_nbytes = layout.entry_nbytes(info.n_rows, n_blocks, info.d)
    if entry_nbytes != info.entry_nbytes and info.overlay_count:
        raise EntrySizeError(
            "overlay entries of another size",
            path=source.name,
            key=info.key,
            offset=info.overlay_start,
            found=f"{info.entry_nbytes} bytes in the index",
            expected=f"{entry_nbytes} bytes ({n_blocks} blocks a row)",
        )
    return n_blocks


def _sane_nbytes(info: RecordInfo) -> int:
    return 2 * info.n_rows * layout.blocks_needed(info.n_columns, info.d)


def _read_literals(source: ByteSource, info: RecordInfo, on_rows: OnRows | None) -> Array | None:
    """The bytes of the sane number of indices, by the own decoder; None if it leaves the stream to zlib."""
    nbytes = _sane_nbytes(info)
    # A section longer than its content may be cut from a sparse file: nothing is read for it at once.
    if not _LEAST_NBYTES <= nbytes <= _MOST_GROWTH * info.z_nbytes or info.z_nbytes > nbytes + nbytes // 8 + 1024:
        return None
    stream = np.empty(info.z_nbytes + inflate.SLACK_NBYTES, np.uint8)
    source.read_into(info.indices_start, stream[: info.z_nbytes])
    stream[info.z_nbytes :] = 0
    buffer = np.empty(nbytes + inflate.SLACK_NBYTES, np.uint8)
    rows = _Rows(info, on_rows)
    whole = inflate.inflate_exactly(stream, info.z_nbytes, buffer, nbytes, lambda n: rows.reach(buffer, n))
    return buffer[:nbytes] if whole else None


def _read_any(source: ByteSource, info: RecordInfo, on_rows: OnRows | None) -> Array:
    """The bytes of however many indices there are, by zlib, which also says what is wrong with the stream."""
    # No larger than the stream can fill (a deflate stream grows at most 1032 times).
    room = min(_sane_nbytes(info), 1032 * info.z_nbytes + 64)
    if room > _COUNT_FIRST_NBYTES:
        # A wrong stream must fail before it has filled the memory that its shape would justify.
        room = min(room, _counted(source, info))
    buffer = np.empty(room, np.uint8)
    rows = _Rows(info, on_rows)
    total = 0
    for piece in inflate.inflate(scan.stream_pieces(source, info), scan.inflated_limit(info), **_where(source, info)):
        if total + len(piece) > buffer.nbytes:
            bigger = np.empty(_counted(source, info), np.uint8)
            bigger[:total] = buffer[:total]
            buffer = bigger
        buffer[total : total + len(piece)] = np.frombuffer(piece, np.uint8)
        total += len(piece)
        if total <= _sane_nbytes(info):
            rows.reach(buffer, total)
    return buffer[:total] if 2 * total > buffer.nbytes else buffer[:total].copy()


def _counted(source: ByteSource, info: RecordInfo) -> int:
    """How many bytes of indices there are, found without keeping them. Raises StreamSizeError if too many."""
    where = _where(source, info)
    nbytes = inflate.inflated_nbytes(scan.stream_pieces(source, info), scan.inflated_limit(info), **where)
    scan.n_blocks(source, info, nbytes)
    # As many as the shape needs are the business of whoever asked for a tensor of this shape.
    most = max(_sane_nbytes(info), layout.max_allocation_nbytes(source.nbytes))
    if nbytes > most:
        raise StreamSizeError("far more indices than weights", **where, found=f"{nbytes} bytes", expected=f"{most}")
    return nbytes


def _where(source: ByteSource, info: RecordInfo) -> dict[str, Any]:
    return {"path": source.name, "key": info.key, "offset": info.indices_start}


class _Rows:
    """Tells of rows as they become complete, each once."""

    def __init__(self, info: RecordInfo, on_rows: OnRows | None) -> None:
        self._blocks = layout.blocks_needed(info.n_columns, info.d)
        self._on_rows = on_rows
        self._done = 0

    def reach(self, buffer: Array, nbytes: int) -> None:
        if self._on_rows is None or not self._blocks:
            return
        rows = nbytes // (2 * self._blocks)
        if rows > self._done:
            indices = buffer[: 2 * self._blocks * rows].view(np.uint16).reshape(rows, self._blocks)
            self._on_rows(indices, self._done, rows)
            self._done = rows
