"""Encoded record -> float16 or float32 into a caller's buffer, whole or by rows, bit for bit."""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import lattice, layout, scan
from lzr2.byte_source import ByteSource, require_little_endian
from lzr2.errors import ChecksumError, OutputArrayError, RowRangeError, ShapeError, StaleFileError
from lzr2.fingerprint import record_checksum
from lzr2.indices import bad_index, read_indices
from lzr2.inflated_tensor import InflatedTensor
from lzr2.record import RecordInfo

Array = npt.NDArray[Any]
Rows = tuple[int, int]

# A multiple of both entry sizes, large enough that threads seldom hand the interpreter lock over.
_OVERLAY_PIECE_NBYTES = 24 * 65_536
_OVERLAY_AT_ONCE_NBYTES = 4 << 20  # one of these is read whole, to be applied row by row


def decode_record_into(
    source: ByteSource, info: RecordInfo, out: Array, rows: Rows | None = None, threads: int = 1
) -> None:
    """Fills `out` with the record's weights, bit for bit as the format defines them, or raises.

    out: C-contiguous, writable, float16 or float32 (the float16 values, exactly widened), with as many
    elements as the tensor, or as the range `rows` = (first, end) of it. threads: how many may work at once,
    this one included. After an error the content of `out` is undefined. Memory: the indices, as they are in the file
    and inflated (up to 4/d bytes a weight), and 5 MiB a thread. Thread-safe.
    Raises OutputArrayError, RowRangeError, MalformedRecordError, StaleFileError, ChecksumError.
    """
    first, end = _checked_rows(info.shape, rows, source.name, info.key)
    out2d = _checked_out(out, end - first, info.n_columns, info.key)
    source.check_unchanged()
    check_record(source, info)
    patterns = _patterns(out2d)
    levels = _as_written(read_levels(source, info)[first:end], patterns)
    whole = (first, end) == (0, info.n_rows)
    if threads > 1 or not whole or not _decode_past_caches(source, info, levels, patterns):
        with _workers(threads) as submit:
            _expand_stream(source, info, (first, end), levels, patterns, submit)
            _overlay_into(source, info, (first, end), patterns.reshape(-1), submit, threads)
    source.check_unchanged()


def read_inflated(source: ByteSource, info: RecordInfo) -> InflatedTensor:
    """The record with its indices inflated and checked. Raises as decode_record_into."""
    from lzr2 import kernels

    check_size(source, info)
    source.check_unchanged()
    check_record(source, info)
    levels = read_levels(source, info)
    indices = read_indices(source, info)
    position_type: type[np.unsignedinteger] = np.uint32 if info.n_weights < 2**32 else np.uint64
    positions = np.empty(info.overlay_count, position_type)
    values = np.empty(info.overlay_count, np.uint16)
    n = 0
    for words in overlay_words(source, info, 0, info.overlay_count):
        wide = info.entry_nbytes == layout.WIDE_ENTRY_NBYTES
        n += kernels.locate(words, wide, info.n_rows, info.n_columns, positions[n:], values[n:])
    source.check_unchanged()
    if not bool(np.all(positions[1:n] > positions[: max(0, n - 1)])):
        # Stable, reversed: of several entries for one place the last is kept.
        kept, at = np.unique(positions[:n][::-1], return_index=True)
        positions, values, n = kept, values[:n][::-1][at], len(kept)
    if n < info.overlay_count:
        positions, values = positions[:n].copy(), values[:n].copy()
    return InflatedTensor(info.key, info.shape, info.d, indices, levels, positions, values)


def decode_inflated_into(inflated: InflatedTensor, out: Array, rows: Rows | None = None, threads: int = 1) -> None:
    """As decode_record_into, from the inflated form: no file, no inflating, about the speed of a copy."""
    first, end = _checked_rows(inflated.shape, rows, None, inflated.key)
    out2d = _checked_out(out, end - first, inflated.n_columns, inflated.key)
    n = max(1, min(threads, end - first))
    bounds = [first + (end - first) * i // n for i in range(n + 1)]
    patterns = _patterns(out2d)
    with _workers(threads) as submit:
        futures = [
            submit(_expand_inflated, inflated, patterns[a - first : b - first], a, b)
            for a, b in itertools.pairwise(bounds)
        ]
        for future in futures:
            future.result()


def check_size(source: ByteSource, info: RecordInfo) -> None:
    """Raises ShapeError if a small file stands for a huge tensor: its rows may be shorter than their lattice."""
    most = layout.max_allocation_nbytes(source.nbytes)
    if 2 * info.n_weights > most:
        raise ShapeError(
            f"a tensor of {2 * info.n_weights} bytes in a file of {source.nbytes}",
            path=source.name,
            key=info.key,
            offset=info.start,
            found=info.shape,
            expected=f"at most {most // 2} weights",
            advice="If it is meant, give decode_into an array for it.",
        )


def check_record(source: ByteSource, info: RecordInfo) -> None:
    """Raises StaleFileError or ChecksumError unless the record that `info` describes is at its place."""
    found = scan.reread(source, info)
    same = (found.key, found.shape, found.d, found.z_nbytes, found.overlay_count, found.end)
    if same != (info.key, info.shape, info.d, info.z_nbytes, info.overlay_count, info.end):
        raise StaleFileError(
            "the index doesn't describe this file",
            path=source.name,
            key=info.key,
            offset=info.start,
            advice="Delete its sidecar (.lzr2.index.json), then open the file again.",
        )
    check_checksum(source, info)


def check_checksum(source: ByteSource, info: RecordInfo) -> None:
    """Raises ChecksumError if the index has a checksum of the record, and its bytes have another."""
    if info.checksum is not None:
        checksum = record_checksum(source, info)
        if checksum != info.checksum:
            raise ChecksumError(
                "the record's bytes have changed",
                path=source.name,
                key=info.key,
                offset=info.start,
                found=f"checksum {checksum:016x}",
                expected=f"{info.checksum:016x}",
                advice="Get the file anew; or, if the change was meant, make its index anew with checksums.",
            )


def _expand_inflated(inflated: InflatedTensor, patterns: Array, first: int, end: int) -> None:
    from lzr2 import kernels, rows_past_caches

    levels = _as_written(inflated.levels[first:end], patterns)
    indices, d, limit = inflated.indices[first:end], inflated.d, layout.n_index_values(inflated.d)
    n_columns = inflated.n_columns
    positions, values = _entries_of_rows(inflated, first, end)
    table = lattice.widening_table().view(np.uint32)
    if rows_past_caches.is_worth(patterns):
        bad = rows_past_caches.expand_with_positions(
            indices, levels, patterns, d, limit, positions, values, table, first * n_columns
        )
    else:
        bad = kernels.expand(indices, levels, patterns, d, limit)
        kernels.put(positions, values, patterns.reshape(-1), table, first * n_columns)
    if bad >= 0:
        raise bad_index(None, inflated.key, None, first + bad, inflated.d)


def _entries_of_rows(inflated: InflatedTensor, first: int, end: int) -> tuple[Array, Array]:
    """Positions and values of the overlay's entries for rows [first, end)."""
    positions, n_columns = inflated.overlay_positions, inflated.n_columns
    a = int(np.searchsorted(positions, positions.dtype.type(first * n_columns))) if first else 0
    last = end == inflated.n_rows
    b = len(positions) if last else int(np.searchsorted(positions, positions.dtype.type(end * n_columns)))
    return positions[a:b], inflated.overlay_values[a:b]


def read_levels(source: ByteSource, info: RecordInfo) -> npt.NDArray[np.uint16]:
    """The float16 patterns of every row's three levels, uint16 [C, 3]."""
    from lzr2 import kernels

    require_little_endian()
    tables = source.read_array(info.offset_start, info.offset_nbytes + info.scale_nbytes).view(np.float32)
    exact = lattice.row_levels(tables[: info.n_rows], tables[info.n_rows :])
    levels = np.empty((info.n_rows, 3), np.uint16)
    kernels.round_to_half(exact.reshape(-1).view(np.uint32), levels.reshape(-1))
    return levels


def _decode_past_caches(source: ByteSource, info: RecordInfo, levels: Array, patterns: Array) -> bool:
    """Makes each row at once, lattice and overlay, as indices are inflated; False if the record isn't fit for it."""
    from lzr2 import kernels
    from lzr2 import rows_past_caches as past

    if not past.is_worth(patterns) or info.overlay_nbytes > _OVERLAY_AT_ONCE_NBYTES:
        return False
    words = source.read_array(info.overlay_start, info.overlay_nbytes).view(np.uint32)
    wide = info.entry_nbytes == layout.WIDE_ENTRY_NBYTES
    limit, table = layout.n_index_values(info.d), lattice.widening_table().view(np.uint32)
    applied = 0

    def expand(indices: Array, a: int, b: int) -> None:
        nonlocal applied
        rows, out = indices[a:b], patterns[a:b]
        _, applied = past.expand_with_overlay(
            rows, levels[a:b], out, info.d, limit, words, wide, table, info.n_rows, a, applied
        )

    def restart() -> None:
        nonlocal applied
        applied = 0

    found = read_indices(source, info, expand, restart)
    if found.shape[1] != layout.blocks_needed(info.n_columns, info.d):
        return False  # what was expanded is wrong
    if applied != info.overlay_count:  # not sorted by row, or not all within the tensor: once more, in file order
        n_rows, n_columns = patterns.shape
        kernels.apply_overlay(words, wide, patterns.reshape(-1), table, n_columns, n_rows, 0, n_rows)
    return True


def _expand_stream(
    source: ByteSource, info: RecordInfo, rows: Rows, levels: Array, patterns: Array, submit: _Submit
) -> None:
    """Expands rows as they are inflated; with threads, inflating and expanding overlap."""
    from lzr2 import kernels

    first, end = rows
    limit = layout.n_index_values(info.d)
    futures: list[Future[Any]] = []

    def expand(indices: Array, a: int, b: int) -> None:
        a, b = max(a, first), min(b, end)
        if a < b:
            span = slice(a - first, b - first)
            futures.append(submit(kernels.expand, indices[a:b], levels[span], patterns[span], info.d, limit))

    def settle() -> None:
        for future in futures:
            future.result()
        futures.clear()

    found = read_indices(source, info, expand, settle)
    expanded = bool(futures)
    settle()
    if found.shape[1] != layout.blocks_needed(info.n_columns, info.d) or not expanded:
        # Another number of blocks than a sane writer gives: what was expanded on the way is wrong.
        kernels.expand(found[first:end], levels, patterns, info.d, limit)


def _overlay_into(source: ByteSource, info: RecordInfo, rows: Rows, flat: Array, submit: _Submit, threads: int) -> None:
    first, end = rows
    if first == end or not info.overlay_count:
        return
    parts = min(threads, info.overlay_count * info.entry_nbytes // (4 * _OVERLAY_PIECE_NBYTES), end - first)
    if parts > 1 and rows == (0, info.n_rows):
        cuts = [_first_entry_of_row(source, info, end * i // parts) for i in range(parts)] + [info.overlay_count]
        bounds = [end * i // parts for i in range(parts + 1)]
        futures = [
            submit(_apply, source, info, (a, b), (bounds[i], bounds[i + 1]), flat)
            for i, (a, b) in enumerate(itertools.pairwise(cuts))
        ]
        if sum(future.result() for future in futures) == 0:
            return
        # Not sorted by row after all: once more, in file order, which sets every place to its last entry.
    _apply(source, info, (0, info.overlay_count), rows, flat)


def _apply(source: ByteSource, info: RecordInfo, entries: Rows, rows: Rows, flat: Array) -> int:
    """Applies a range of overlay entries to a range of rows; returns how many were for other rows."""
    from lzr2 import kernels

    first, end = rows
    whole = flat.size == info.n_weights
    own = flat[first * info.n_columns : end * info.n_columns] if whole else flat
    wide = info.entry_nbytes == layout.WIDE_ENTRY_NBYTES
    table = lattice.widening_table().view(np.uint32)
    elsewhere = 0
    for words in overlay_words(source, info, *entries):
        elsewhere += kernels.apply_overlay(words, wide, own, table, info.n_columns, info.n_rows, first, end)
    return elsewhere


def overlay_words(source: ByteSource, info: RecordInfo, first: int, end: int) -> Iterator[npt.NDArray[np.uint32]]:
    """Overlay entries [first, end) as uint32 words, in pieces, each valid until the next is asked for."""
    at = info.overlay_start + first * info.entry_nbytes
    stop = info.overlay_start + end * info.entry_nbytes
    scratch = np.empty(min(_OVERLAY_PIECE_NBYTES, max(0, stop - at)), np.uint8)
    while at < stop:
        piece = scratch[: stop - at]
        source.read_into(at, piece)
        yield piece.view(np.uint32)
        at += piece.nbytes


def _first_entry_of_row(source: ByteSource, info: RecordInfo, row: int) -> int:
    """Where the entries of `row` start if the overlay is sorted (the caller notices if it isn't)."""
    width = info.entry_nbytes - 4 >> 1
    low, high = 0, info.overlay_count
    while low < high:
        middle = (low + high) // 2
        at = info.overlay_start + middle * info.entry_nbytes
        if int.from_bytes(source.read(at, width), "little") < row:
            low = middle + 1
        else:
            high = middle
    return low


def _checked_rows(shape: tuple[int, ...], rows: Rows | None, path: str | None, key: str) -> Rows:
    n_rows = shape[0]
    try:
        first, end = (0, n_rows) if rows is None else (operator.index(row) for row in rows)
    except (TypeError, ValueError):
        raise RowRangeError("row range", path=path, key=key, found=rows, expected="two row numbers") from None
    if not 0 <= first <= end <= n_rows:
        raise RowRangeError("row range", path=path, key=key, found=rows, expected=f"within 0 to {n_rows}")
    return first, end


def _checked_out(out: Array, n_rows: int, n_columns: int, key: str) -> Array:
    if not isinstance(out, np.ndarray) or out.dtype not in (np.float16, np.float32):
        found = getattr(out, "dtype", type(out).__name__)
        raise OutputArrayError("output type", key=key, found=found, expected="a float16 or float32 array")
    if out.size != n_rows * n_columns:
        raise OutputArrayError("output size", key=key, found=out.size, expected=f"{n_rows * n_columns} elements")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise OutputArrayError("output memory", key=key, expected="C-contiguous, aligned and writable")
    return out.reshape(n_rows, n_columns)


def _patterns(out2d: Array) -> Array:
    """The output as unsigned patterns of its own width: what the loops write."""
    return out2d.view(np.uint16 if out2d.dtype == np.float16 else np.uint32)


def _as_written(levels: npt.NDArray[np.uint16], patterns: Array) -> Array:
    """The levels' patterns in the type that is written."""
    return levels if patterns.dtype == np.uint16 else lattice.widening_table().view(np.uint32)[levels]


_Submit = Callable[..., "Future[Any]"]


@contextmanager
def _workers(threads: int) -> Iterator[_Submit]:
    """Runs what is submitted at once, here; or, with threads, on a pool that ends with the block."""
    threads = max(1, min(threads, os.cpu_count() or 1))
    if threads == 1:

        def here(function: Callable[..., Any], *args: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(*args))
            return future

        yield here
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="lzr2-decode") as pool:
        yield pool.submit
