"""Tensors out of safetensors files, one file or several, read by byte range.

The library's own reader maps the file and hands out views of the mapping, which makes every page of it count as memory
of the process for as long as the tensor lives. Here a tensor is read straight to where it is wanted. The format is
described in the README of https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch

from lzr2.byte_source import ByteSource
from lzr2.errors import Lzr2Error
from lzr2.file_source import open_source
from lzr2.sniff import HEAD_NBYTES, describe
from streamer.config import ReadMethod
from streamer.errors import WeightsFileError, printable
from streamer.sources.base import HeldTensor, OnRead, TensorInfo
from streamer.sources.cast import DenseTensor, copy_cast
from streamer.sources.closing import close_all
from streamer.sources.faults import translated

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    # No weights, but text encoders have position numbers; a file isn't refused for them.
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
_HEADER_LIMIT = 100_000_000  # bytes; the format's own
_SIZE_LIMIT = 1 << 62
_REMAKE = "Download or convert the file again."


@dataclass(frozen=True)
class _Range:
    file: ByteSource
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    def rows(self, first: int, n_rows: int) -> _Range:
        """Only these rows; ValueError if there aren't so many."""
        if not self.shape or first < 0 or n_rows < 0 or first + n_rows > self.shape[0]:
            raise ValueError(f"rows {first} to {first + n_rows} of a tensor of shape {self.shape}")
        row_nbytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (n_rows, *self.shape[1:])
        return _Range(self.file, self.dtype, shape, self.offset + first * row_nbytes, n_rows * row_nbytes)


class SafetensorsSource:
    """The tensors of one or several safetensors files; every byte range is checked before anything is read.

    As the format demands, the tensors of a file lie one after the other up to its end: no overlap, no hole.

    Thread-safe. Keeps no tensor in memory.

    Args:
        paths: of the files; no key may be in two of them.
        io: how to read.

    Raises:
        WeightsFileError: a file is missing, isn't safetensors, or is damaged.
    """

    def __init__(self, paths: Sequence[Path], io: ReadMethod = "auto") -> None:
        self._paths = tuple(paths)
        self._files: list[ByteSource] = []
        self._ranges: dict[str, _Range] = {}
        try:
            for path in paths:
                self._add(path, io)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The path, or the first of several."""
        more = len(self._paths) - 1
        return str(self._paths[0]) + (f" (and {more} more)" if more else "")

    @property
    def label(self) -> str:
        """The file's name, or the first of several."""
        more = len(self._paths) - 1
        return self._paths[0].name + (f" (and {more} more)" if more else "")

    def keys(self) -> Collection[str]:
        """The keys of all tensors."""
        return self._ranges.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key and shape of every tensor."""
        return [(key, r.shape) for key, r in self._ranges.items()]

    def info(self, key: str) -> TensorInfo:
        """Shape and size of the tensor."""
        r = self._ranges[key]
        return TensorInfo(r.shape, r.nbytes, r.nbytes, r.dtype)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """Reads the tensor, straight into ``out`` where the types agree."""
        _read_as(self._ranges[key], out)

    def read_rows_into(self, key: str, first: int, out: torch.Tensor) -> None:
        """Reads some rows of the tensor and no other bytes, as `read_into` reads all of them.

        Args:
            key: of the tensor.
            first: of the rows.
            out: contiguous, on the CPU, of the tensor's shape but for the number of rows.

        Raises:
            ValueError: it hasn't so many rows.
        """
        _read_as(self._ranges[key].rows(first, out.shape[0]), out)

    def hold(self, key: str) -> HeldTensor:
        """The tensor in the type of the file."""
        r = self._ranges[key]
        return DenseTensor(_read(r, torch.empty(r.shape, dtype=r.dtype, device="cpu")))

    def will_need(self, key: str) -> None:
        """Asks the system to read ahead."""
        r = self._ranges[key]
        r.file.will_need(r.offset, r.nbytes)

    def will_need_rows(self, key: str, first: int, n_rows: int) -> None:
        """Asks the system to read these rows ahead. Raises ValueError if there aren't so many."""
        r = self._ranges[key].rows(first, n_rows)
        r.file.will_need(r.offset, r.nbytes)

    def wont_need(self, key: str) -> None:
        """Lets the tensor leave the system's page cache."""
        _let_go(self._ranges[key])

    def wont_need_rows(self, key: str, first: int, n_rows: int) -> None:
        """Lets these rows leave the system's page cache. Raises ValueError if there aren't so many."""
        _let_go(self._ranges[key].rows(first, n_rows))

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of every file."""
        for file in self._files:
            file.on_read = on_read

    def close(self) -> None:
        """Closes the files."""
        close_all(*(file.close for file in self._files))

    def _add(self, path: Path, io: ReadMethod) -> None:
        try:
            file = open_source(path, io)
            self._files.append(file)
            ranges = _parse(file)
        except Lzr2Error as error:
            raise translated(error) from error
        for key, r in ranges.items():
            if key in self._ranges:
                raise WeightsFileError(
                    file.name,
                    f"'{printable(key)}' is in {self._ranges[key].file.name} too",
                    "Give files of which each tensor is in one only.",
                )
            self._ranges[key] = r


def _read_as(r: _Range, out: torch.Tensor) -> None:
    """Straight into ``out`` where the types agree, else cast."""
    if out.dtype == r.dtype:
        _read(r, out)
        return
    flat = out.view(-1)
    if flat.numel() * r.dtype.itemsize != r.nbytes:
        raise ValueError(f"{flat.numel()} elements for a tensor of {r.nbytes} bytes of {r.dtype}")
    with _translating():
        if (r.dtype, out.dtype) == (torch.float16, torch.float32):
            r.file.read_widened_into(r.offset, flat.numpy())
        else:
            for start, raw in r.file.read_pieces(r.offset, r.nbytes):
                piece = torch.from_numpy(raw).view(r.dtype)
                first = start // r.dtype.itemsize
                copy_cast(flat[first : first + piece.numel()], piece)
        r.file.check_unchanged()


def _read(r: _Range, out: torch.Tensor) -> torch.Tensor:
    if r.nbytes:
        raw: np.ndarray[Any, np.dtype[np.uint8]] = out.view(-1).view(torch.uint8).numpy()
        with _translating():
            r.file.read_into(r.offset, raw)
            r.file.check_unchanged()
    return out


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except Lzr2Error as error:
        raise translated(error) from error


def _let_go(r: _Range) -> None:
    r.file.done_with(r.offset, r.nbytes)
    r.file.wont_need(r.offset, r.nbytes)


def _parse(file: ByteSource) -> dict[str, _Range]:
    """Every tensor's range, each checked against the file's size, its own shape and the others."""
    head = file.read(0, min(file.nbytes, HEAD_NBYTES))
    header_nbytes = int.from_bytes(head[:8], "little")
    if len(head) < 8 or header_nbytes > _HEADER_LIMIT or head[8:9] not in (b"", b"{"):
        raise WeightsFileError(file.name, f"not a safetensors file but {describe(head, file.nbytes)}", _REMAKE)
    if header_nbytes > file.nbytes - 8:
        raise WeightsFileError(
            file.name,
            f"a safetensors file cut short: a header of {header_nbytes:,} bytes is announced, "
            f"{file.nbytes - 8:,} bytes are there",
            _REMAKE,
        )
    try:
        header = json.loads(file.read(8, header_nbytes).decode())
    except (ValueError, RecursionError) as error:
        raise WeightsFileError(file.name, f"its safetensors header is no JSON ({error})", _REMAKE) from error
    if not isinstance(header, dict):
        raise WeightsFileError(file.name, "its safetensors header is no JSON object", _REMAKE)
    start = 8 + header_nbytes
    ranges = {key: _checked(file, key, entry, start) for key, entry in header.items() if key != "__metadata__"}
    _check_adjacent(file, ranges, start)
    return ranges


def _check_adjacent(file: ByteSource, ranges: dict[str, _Range], start: int) -> None:
    end = start
    for key, r in sorted(ranges.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
        if r.offset != end:
            raise WeightsFileError(
                file.name,
                f"'{printable(key)}' starts at byte {r.offset:,}, but the tensor before it ends at {end:,}",
                _REMAKE,
            )
        end += r.nbytes
    if end != file.nbytes:
        raise WeightsFileError(file.name, f"the tensors end at byte {end:,}, the file at {file.nbytes:,}", _REMAKE)


def _checked(file: ByteSource, key: str, entry: Any, start: int) -> _Range:
    def fault(found: object, expected: str) -> WeightsFileError:
        text = f"'{printable(key)}': found {printable(ascii(found))}, expected {expected}"
        return WeightsFileError(file.name, text, _REMAKE)

    if not isinstance(entry, dict):
        raise fault(entry, "a JSON object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise fault(dtype, f"one of the types {', '.join(_DTYPES)}")
    if not _are_sizes(shape) or len(shape) > 32:
        raise fault(shape, "a list of at most 32 sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise fault(offsets, "two offsets")
    if math.prod(max(n, 1) for n in shape) >= _SIZE_LIMIT // 8:  # torch multiplies the other sizes of an empty one too
        raise fault(shape, "a shape of fewer weights")
    nbytes = math.prod(shape) * _DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != nbytes:
        raise fault(offsets, f"a range of {nbytes} bytes for the shape {shape}")
    if start + offsets[1] > file.nbytes:
        raise WeightsFileError(
            file.name,
            f"the file is cut short: it ends at byte {file.nbytes:,}, '{printable(key)}' at {start + offsets[1]:,}",
            _REMAKE,
        )
    return _Range(file, _DTYPES[dtype], tuple(shape), start + offsets[0], nbytes)


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < _SIZE_LIMIT for n in values)
