"""Streams records to a temporary file, then puts it in place: the old file or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import deflate, layout, sidecar
from lzr2.byte_source import require_little_endian
from lzr2.encode import fit_tensor
from lzr2.errors import ClosedError, EncodeError, InvalidTensorError, IoFailedError
from lzr2.fitted import FittedTensor
from lzr2.record import EncodedTensor
from lzr2.target import Target
from lzr2.temporary import Draft

Array = npt.NDArray[Any]
_BUFFER_NBYTES = 1 << 20
_ENTRIES_AT_ONCE = 1 << 16


class Writer:
    """Writes a file record by record; it appears under its name, complete and synced, only when all went well.

    Use in a `with` statement: an exception inside, or `abort`, leaves whatever was at the path untouched and
    removes the temporary file. A symbolic link at the path is followed; a directory, a pipe or a device is refused.
    Memory: at most twice the tensor being written, besides itself. Not to be shared between threads. Raises
    IoFailedError, EncodeError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_little_endian()
        try:
            self.path = Path(path)
        except TypeError as error:
            raise EncodeError("the path isn't one", found=repr(path), expected="text or a pathlib.Path") from error
        self._keys: set[str] = set()
        try:
            self._draft: Draft | None = Draft(self.path, _BUFFER_NBYTES)
        except IoFailedError:
            raise
        except OSError as error:
            raise _failed(self.path, error) from error
        try:
            self._write(layout.MAGIC)
        except BaseException:
            self.abort()
            raise

    def add(
        self,
        key: str,
        tensor: EncodedTensor | FittedTensor | Array,
        *,
        d: int | None = None,
        overlay_fraction: float | None = None,
        max_error: float | None = None,
        nbytes: int | None = None,
    ) -> None:
        """Appends one record. An array is encoded: losslessly as float16, or under one target (see encode.Target).

        What is fitted already, by `encode.fit_tensor` on other threads, say, is written as it is.
        """
        _encoded(key)
        if isinstance(tensor, (EncodedTensor, FittedTensor)):
            if (d, overlay_fraction, max_error, nbytes) != (None, None, None, None):
                raise EncodeError("a target for a tensor that is encoded already", key=key)
            with self._record(key, tensor.shape):
                if isinstance(tensor, FittedTensor):
                    self._add_fitted(key, tensor)
                else:
                    self._add_encoded(tensor)
            return
        target = Target(overlay_fraction, max_error, nbytes)
        try:
            fitted = fit_tensor(tensor, target, d)
        except EncodeError as error:
            error.key = key
            raise
        with self._record(key, fitted.shape):
            self._add_fitted(key, fitted)

    def add_without_payload(self, key: str, shape: tuple[int, ...]) -> None:
        """Appends a record that leaves the tensor as the base model has it."""
        with self._record(key, shape, flag=0):
            pass

    def commit(self) -> None:
        """Syncs the file and puts it in place of whatever was there, whose index is removed."""
        draft = self._open_draft()
        try:
            draft.put_in_place()
        except OSError as error:
            raise _failed(self.path, error) from error
        finally:
            self.abort()
        # Checksums outlive a change that leaves head, tail and size as they were. This one was meant.
        sidecar.remove(self.path)

    def abort(self) -> None:
        """Gives up: the temporary file is removed, the path isn't touched. After commit it does nothing."""
        if self._draft is not None:
            self._draft.discard()
        self._draft = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    @contextlib.contextmanager
    def _record(self, key: str, shape: tuple[int, ...], flag: int = layout.HAS_PAYLOAD) -> Iterator[None]:
        """A record is written inside. If that fails, half of it may be there: the whole file is given up."""
        header = self._header(key, shape, flag)
        try:
            self._write(*header)
            yield
        except BaseException:
            self.abort()
            raise

    def _header(self, key: str, shape: tuple[int, ...], flag: int) -> tuple[bytes, ...]:
        name = _encoded(key)
        if len(name) > layout.MAX_KEY_NBYTES:
            raise EncodeError(
                "the key is too long", key=key, found=len(name), expected=f"at most {layout.MAX_KEY_NBYTES}"
            )
        if key in self._keys:
            raise EncodeError("the key was written before", key=key)
        if len(self._keys) == layout.MAX_RECORDS:
            raise EncodeError("too many records", key=key, expected=f"at most {layout.MAX_RECORDS}")
        _require_sizes(key, shape)
        # The reader counts a dimension of zero as one.
        weights = math.prod(max(n, 1) for n in shape)
        if len(shape) > layout.MAX_NDIM or not all(0 <= n < 2**32 for n in shape) or weights > layout.MAX_WEIGHTS:
            expected = f"at most {layout.MAX_NDIM} dimensions and 2^33 weights"
            raise EncodeError("a shape that no reader takes", key=key, found=shape, expected=expected)
        self._open_draft()
        self._keys.add(key)
        dims = struct.pack(f"<{len(shape)}I", *shape)
        return struct.pack("<I", len(name)), name, struct.pack("<I", len(shape)), dims, bytes([flag])

    def _tables(self, d: int, aux: Array | None, offset: Array, scale: Array, stream: bytes, count: int) -> None:
        if len(stream) >= 2**32 or count >= 2**32:
            raise InvalidTensorError("a section is too large for its length field", found=max(len(stream), count))
        zeros = np.zeros(offset.size * d, "<f4") if aux is None else np.ascontiguousarray(aux, "<f4")
        self._write(struct.pack("<I", d), zeros.data)
        self._write(np.ascontiguousarray(offset, "<f4").data, np.ascontiguousarray(scale, "<f4").data)
        self._write(struct.pack("<I", len(stream)), stream, struct.pack("<I", count))

    def _add_encoded(self, tensor: EncodedTensor) -> None:
        indices = np.ascontiguousarray(tensor.indices, "<u2")
        raw = indices.reshape(-1).view(np.uint8).data
        stream = deflate.compress(raw)
        others = 12 + layout.tables_nbytes(tensor.n_rows, tensor.d) + tensor.overlay_count * tensor.entry_nbytes
        if 2 * tensor.n_weights > layout.max_allocation_nbytes(others + len(stream)):
            stream = deflate.store(raw)
        if 2 * tensor.n_weights > layout.max_allocation_nbytes(others + len(stream)):
            raise InvalidTensorError(
                "a tensor too large for its record", found=tensor.shape, expected="more blocks a row"
            )
        self._tables(tensor.d, tensor.aux, tensor.offset, tensor.scale, stream, tensor.overlay_count)
        place = "<u2" if tensor.entry_nbytes == layout.NARROW_ENTRY_NBYTES else "<u4"
        dtype = np.dtype([("row", place), ("column", place), ("value", "<f4")])
        for first in range(0, tensor.overlay_count, _ENTRIES_AT_ONCE):
            piece = slice(first, min(first + _ENTRIES_AT_ONCE, tensor.overlay_count))
            entries = np.empty(piece.stop - piece.start, dtype)
            entries["row"] = tensor.overlay_rows[piece]
            entries["column"] = tensor.overlay_columns[piece]
            entries["value"] = tensor.overlay_values[piece]
            self._write(entries.view(np.uint8).data)

    def _add_fitted(self, key: str, fitted: FittedTensor) -> None:
        on = fitted.lattice
        self._tables(fitted.d, None, on.offset, on.scale, fitted.stream, fitted.overlay_count)
        words = 0
        for piece in fitted.entries():
            self._write(piece.data)
            words += piece.size
        if 4 * words != fitted.overlay_count * fitted.entry_nbytes:
            raise EncodeError("the tensor changed while it was encoded", key=key)

    def _write(self, *parts: Any) -> None:
        file = self._open_draft().file
        try:
            for part in parts:
                file.write(part)
        except OSError as error:
            raise _failed(self.path, error) from error

    def _open_draft(self) -> Draft:
        if self._draft is None:
            raise ClosedError("the writer has ended", path=self.path)
        return self._draft


def _encoded(key: object) -> bytes:
    """The key as the file has it. Raises EncodeError."""
    if not isinstance(key, str):
        raise EncodeError("the key isn't a text", found=f"{key!r} ({type(key).__name__})")
    try:
        return key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodeError("the key isn't UTF-8", key=key) from error


def _require_sizes(key: str, shape: object) -> None:
    """Returns only if the shape is a sequence of whole numbers. Raises EncodeError."""
    if not isinstance(shape, (tuple, list)) or not all(isinstance(n, (int, np.integer)) for n in shape):
        raise EncodeError("the shape isn't one", key=key, found=repr(shape), expected="whole numbers")


def write_records(
    path: str | os.PathLike[str], records: Iterable[tuple[str, EncodedTensor | Array]], **target: Any
) -> None:
    """Writes a file from (key, tensor) pairs, one at a time, atomically. target: as Writer.add, for arrays.

    Raises EncodeError, IoFailedError.
    """
    if not isinstance(records, Iterable):
        raise EncodeError("the records aren't several", found=type(records).__name__, expected="(key, tensor) pairs")
    with Writer(path) as writer:
        for record in records:
            if not isinstance(record, (tuple, list)) or len(record) != 2:
                raise EncodeError("a record isn't a pair", found=type(record).__name__, expected="(key, tensor)")
            key, tensor = record
            writer.add(key, tensor, **({} if isinstance(tensor, EncodedTensor) else target))


def save_file(
    tensors: Mapping[str, Array],
    path: str | os.PathLike[str],
    *,
    d: int | None = None,
    overlay_fraction: float | None = None,
    max_error: float | None = None,
) -> None:
    """Writes the tensors atomically; losslessly as float16 unless overlay_fraction or max_error is given.

    d: weights an index stands for, 1 to 10; None takes what is smallest. Raises EncodeError, IoFailedError.
    """
    if not isinstance(tensors, Mapping):
        raise EncodeError(
            "the tensors have no keys", found=type(tensors).__name__, expected="a mapping of arrays by key"
        )

    def arrays() -> Iterator[tuple[str, Array]]:
        yield from tensors.items()

    write_records(path, arrays(), d=d, overlay_fraction=overlay_fraction, max_error=max_error)


def _failed(path: Path, error: OSError) -> IoFailedError:
    return IoFailedError(f"writing failed ({error.strerror or error})", path=path)
