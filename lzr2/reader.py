"""Lzr2File: one open file, its index, and tensors out of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import decode
from lzr2.byte_source import ByteSource, BytesSource, OnRead
from lzr2.errors import EntrySizeError, NoPayloadError, UnknownKeyError
from lzr2.file_source import FileSource, IoMode, open_source
from lzr2.index import Index
from lzr2.inflated_tensor import InflatedTensor
from lzr2.record import RecordInfo


class Lzr2File:
    """An open LZR2 file: every tensor it returns is bit for bit what the file says, or an error is raised.

    Made by `lzr2.open`. Safe to share between threads; close it, or use it in a `with` statement.
    Memory: the index (a few hundred bytes a tensor).
    """

    def __init__(self, source: ByteSource, index: Index) -> None:
        self._source = source
        self._index = index
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """Of the file; `<bytes>` for one in memory."""
        return Path(self._source.name)

    @property
    def index(self) -> Index:
        """Where its records lie."""
        return self._index

    def keys(self) -> list[str]:
        """Keys that carry weights, in file order."""
        return list(self._index.by_key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._index.by_key)

    def __contains__(self, key: object) -> bool:
        return key in self._index.by_key

    def record(self, key: str) -> RecordInfo:
        """The record that counts for `key`. Raises UnknownKeyError, NoPayloadError."""
        found = self._index.by_key.get(key)
        if found is not None:
            return found
        path = self._source.name
        if any(r.key == key for r in self._index.records):
            advice = "Take the tensor from the base model."
            raise NoPayloadError("the record carries no weights", path=path, key=key, advice=advice)
        raise UnknownKeyError("no such record", path=path, key=key, advice="keys() lists the ones there are.")

    def shape(self, key: str) -> tuple[int, ...]:
        """The tensor's dimensions. Raises as `record`."""
        return self.record(key).shape

    def get_tensor(self, key: str, threads: int = 1) -> npt.NDArray[np.float16]:
        """The tensor as a fresh float16 array of its shape. Raises as `decode_into`, and ShapeError if it takes far
        more memory than the file: `decode_into` then fills an array of the caller's."""
        record = self.record(key)
        decode.check_size(self._source, record)
        out = np.empty(record.shape, np.float16)
        self.decode_into(key, out, threads=threads)
        return out

    def decode_into(
        self, key: str, out: npt.NDArray[Any], rows: tuple[int, int] | None = None, threads: int = 1
    ) -> None:
        """Fills `out` with the tensor, or its rows [first, end), bit for bit; float32 is the exact widening.

        out: C-contiguous, writable float16 or float32, of the right number of elements and any shape (a numpy
        view of a pinned torch buffer, say). threads: how many may work on this call, the caller's included.
        Raises UnknownKeyError, OutputArrayError, RowRangeError, MalformedRecordError, StaleFileError,
        ChecksumError; then the content of `out` is undefined. Thread-safe; releases the GIL.
        Memory: up to 4/d bytes a weight, and 5 MiB a thread.
        """
        record = self.record(key)
        try:
            decode.decode_record_into(self._source, record, out, rows, threads)
        except EntrySizeError as error:
            decode.decode_record_into(self._source, self._settled(key, record, error), out, rows, threads)

    def read_inflated(self, key: str) -> InflatedTensor:
        """The tensor in its inflated form, which doesn't need the file any more. Raises as `decode_into`."""
        record = self.record(key)
        try:
            return decode.read_inflated(self._source, record)
        except EntrySizeError as error:
            return decode.read_inflated(self._source, self._settled(key, record, error))

    def will_need(self, key: str) -> None:
        """Hints to the operating system that the record's bytes are read soon."""
        record = self.record(key)
        self._source.will_need(record.start, record.record_nbytes)

    def done_with(self, key: str) -> None:
        """Hints that the record's mapped pages may leave this process's memory (not the page cache)."""
        record = self.record(key)
        self._source.done_with(record.start, record.record_nbytes)

    def wont_need(self, key: str) -> None:
        """Hints that the record won't be read again soon: it may leave the page cache, too."""
        record = self.record(key)
        self._source.done_with(record.start, record.record_nbytes)
        self._source.wont_need(record.start, record.record_nbytes)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """From now on `on_read` is told of each read, on the thread that makes it; None: nobody is."""
        self._source.on_read = on_read

    def close(self) -> None:
        """Releases the file, at the latest when calls in flight end. May be called twice."""
        self._source.close()

    def __enter__(self) -> Lzr2File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settled(self, key: str, misled: RecordInfo, error: EntrySizeError) -> RecordInfo:
        """The record after the index took the wrong one of two readings that both parse: inflating settles it."""
        with self._lock:
            if self.record(key) == misled:  # else another thread has done it
                exact = Index.of_source(self._source, exact=True)
                # An index with checksums was built by inflating: it is wrong on purpose, and not to be repaired.
                if self._index.has_checksums or exact.by_key.get(key) in (misled, None):
                    raise error
                self._index = exact
            return self.record(key)


def open_file(
    path: str | os.PathLike[str] | bytes | bytearray | memoryview,
    io: IoMode = "auto",
    index: Index | None = None,
    sidecar: bool = True,
) -> Lzr2File:
    """An open file whose every record header has been checked against the file's size.

    path: the file, or its content as bytes. io: "mmap", "pread" or "auto" (pread: as fast, and a file cut
    short while in use is an error instead of a signal). index: one made before, of exactly this file.
    sidecar: whether to use and keep `NAME.lzr2.index.json`, in the user's cache directory where the file's
    folder can't be written.
    Raises MissingFileError, UnreadableFileError, NotLzr2Error, MalformedRecordError, StaleFileError.
    """
    source = _source(path, io)
    try:
        if index is not None:
            if isinstance(source, FileSource):
                index.check_describes(source)
        elif sidecar and isinstance(source, FileSource):
            index = Index.of_file(source)
        else:
            index = Index.of_source(source)
        return Lzr2File(source, index)
    except BaseException:
        source.close()
        raise


def _source(path: str | os.PathLike[str] | bytes | bytearray | memoryview, io: IoMode) -> ByteSource:
    if isinstance(path, (bytes, bytearray, memoryview)):
        return BytesSource(path)
    return open_source(path, io)


def load_file(path: str | os.PathLike[str], threads: int = 1) -> dict[str, npt.NDArray[np.float16]]:
    """Every tensor of the file, as float16. A sidecar is used, and none made. Raises as `open_file` and
    `Lzr2File.get_tensor`, and ShapeError if all tensors together take far more memory than the file."""
    source = open_source(path)
    try:
        index = Index.saved(source) or Index.of_source(source)
        index.check_total()
    except BaseException:
        source.close()
        raise
    with Lzr2File(source, index) as file:
        tensors = {}
        for key in file:
            tensors[key] = file.get_tensor(key, threads)
        return tensors
