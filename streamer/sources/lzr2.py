"""Tensors out of an LZR2 file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lzr2
from streamer.config import ReadMethod
from streamer.sources.base import HeldTensor, TensorInfo
from streamer.sources.cast import DenseTensor, copy_cast
from streamer.sources.faults import translated


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
        self._keys = tuple(self._file.keys())

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
        return TensorInfo(record.shape, record.record_nbytes, record.n_weights * 2, torch.float16)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """Decodes the record; values are its float16 ones, cast to ``out``'s type."""
        if out.dtype in (torch.float16, torch.float32):
            self._decode(key, out.view(-1).numpy())
        else:
            copy_cast(out, torch.from_numpy(self._decode(key)))

    def hold(self, key: str) -> HeldTensor:
        """The record, decoded to float16."""
        return DenseTensor(torch.from_numpy(self._decode(key)))

    def will_need(self, key: str) -> None:
        """Asks the system to read ahead."""
        self._file.will_need(key)

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
