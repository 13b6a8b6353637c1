"""Tensors out of an LZR2 file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lzr2
from streamer.config import ReadMethod
from streamer.plan.packed import InflatedSizes
from streamer.sources.base import HeldTensor, OnRead, TensorInfo
from streamer.sources.cast import DenseTensor, copy_cast
from streamer.sources.faults import translated
from streamer.sources.inflated import InflatedSections


class InflatedHeld:
    """A held tensor as the indices of its lattice and its overlay: an eighth of the memory, decoded when it is used."""

    def __init__(self, tensor: lzr2.InflatedTensor) -> None:
        self._tensor = tensor

    @property
    def nbytes(self) -> int:
        """Bytes of host memory that it takes."""
        return self._tensor.nbytes

    def write_into(self, out: torch.Tensor) -> None:
        """Writes the float16 values, cast to ``out``'s type. Thread-safe."""
        if out.dtype in (torch.float16, torch.float32):
            lzr2.decode_inflated_into(self._tensor, out.view(-1).numpy())
        else:
            values = np.empty(self._tensor.shape, np.float16)
            lzr2.decode_inflated_into(self._tensor, values)
            copy_cast(out, torch.from_numpy(values))

    def write_inflated_into(self, memory: torch.Tensor) -> InflatedSizes:
        """Writes the sections; indices past the rows' ends are left out."""
        tensor = self._tensor
        blocks = min(tensor.indices.shape[1], -(-tensor.n_columns // tensor.d))
        sizes = InflatedSizes(tensor.n_rows, tensor.n_columns, tensor.d, blocks, len(tensor.overlay_values))
        sections = InflatedSections.within(memory, sizes)
        np.copyto(_unsigned(sections.indices), tensor.indices[:, :blocks])
        np.copyto(_unsigned(sections.levels), tensor.levels)
        np.copyto(_unsigned(sections.positions), tensor.overlay_positions, casting="same_kind")
        np.copyto(_unsigned(sections.values), tensor.overlay_values)
        return sizes


class Lzr2Source:
    """The tensors of an LZR2 file, decoded on the calling thread straight to where they are wanted.

    Thread-safe. Keeps no tensor in memory. Reads headers only until a tensor is asked for.

    Args:
        path: of the file.
        io: how to read.

    Raises:
        WeightsFileError: the file is missing, isn't LZR2, or is damaged.
    """

    def __init__(self, path: Path, io: ReadMethod = "auto") -> None:
        try:
            self._file = lzr2.open(path, io=io)
        except lzr2.Lzr2Error as error:
            raise translated(error) from error
        self._path = path
        self._keys = dict.fromkeys(self._file.keys()).keys()  # in order, and looked up at once
        print_ = self._file.index.fingerprint
        self._origin = None if print_ is None else f"{print_.nbytes}:{print_.mtime_ns}:{print_.digest}"

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def label(self) -> str:
        """The file's name."""
        return self._path.name

    def keys(self) -> Collection[str]:
        """The keys of all records that carry weights."""
        return self._keys

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key and shape of every record."""
        return [(record.key, record.shape) for record in self._file.index.records]

    def info(self, key: str) -> TensorInfo:
        """Shape and sizes of the record."""
        record = self._file.record(key)
        dense, inflated = _dense_nbytes(record), _inflated_nbytes(record)
        sizes = _inflated_sizes(record) if inflated < dense else None
        origin = None if self._origin is None else f"{self._origin}:{record.start}"
        return TensorInfo(record.shape, record.record_nbytes, min(dense, inflated), torch.float16, sizes, origin)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """Decodes the record; values are its float16 ones, cast to ``out``'s type."""
        if out.dtype in (torch.float16, torch.float32):
            self._decode(key, out.view(-1).numpy())
        else:
            copy_cast(out, torch.from_numpy(self._decode(key)))

    def hold(self, key: str) -> HeldTensor:
        """The record decoded to float16; or with its indices inflated, where that is smaller (few overlay entries)."""
        record = self._file.record(key)
        if _inflated_nbytes(record) >= _dense_nbytes(record):
            return DenseTensor(torch.from_numpy(self._decode(key)))
        try:
            return InflatedHeld(self._file.read_inflated(key))
        except lzr2.Lzr2Error as error:
            raise translated(error) from error
        finally:
            self._file.done_with(key)

    def will_need(self, key: str) -> None:
        """Asks the system to read ahead."""
        self._file.will_need(key)

    def wont_need(self, key: str) -> None:
        """Lets the record leave the system's page cache."""
        self._file.wont_need(key)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the file."""
        self._file.observe_reads(on_read)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _decode(self, key: str, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        record = self._file.record(key)  # an unknown key is the caller's fault, not the file's
        if out is None:
            out = np.empty(record.n_weights, np.float16)
        try:
            self._file.decode_into(key, out)
        except lzr2.Lzr2Error as error:
            raise translated(error) from error
        self._file.done_with(key)
        return out


def _unsigned(section: torch.Tensor) -> np.ndarray[Any, Any]:
    array = section.numpy()
    return array.view(np.dtype(f"u{array.itemsize}"))


def _inflated_sizes(record: lzr2.RecordInfo) -> InflatedSizes:
    blocks = -(-record.n_columns // record.d)
    return InflatedSizes(record.n_rows, record.n_columns, record.d, blocks, record.overlay_count)


def _dense_nbytes(record: lzr2.RecordInfo) -> int:
    return 2 * record.n_weights


def _inflated_nbytes(record: lzr2.RecordInfo) -> int:
    """Of a record as sane writers make them: others may turn out larger or smaller."""
    blocks = -(-record.n_columns // record.d)
    position_nbytes = 4 if record.n_weights < 1 << 32 else 8
    return record.n_rows * (2 * blocks + 6) + record.overlay_count * (position_nbytes + 2)
