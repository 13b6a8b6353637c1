"""Copies between types on the calling thread alone, with the roundings of `torch.Tensor.to`."""

from __future__ import annotations

import numpy as np
import torch

import lzr2
from streamer.plan.packed import InflatedSizes

# torch splits an element-wise operation over its thread pool from 32,768 elements on. A worker thread that enters the
# pool while the model computes makes both wait, so a worker copies in pieces just below that.
_PIECE = 32_704


def copy_cast(out: torch.Tensor, values: torch.Tensor) -> None:
    """Makes ``out`` equal ``values.to(out.dtype)`` bit for bit, without entering torch's thread pool.

    (A NaN stays one. Which one it becomes, torch itself lets depend on its place in the array.)

    Args:
        out: contiguous, on the CPU.
        values: contiguous, on the CPU, as many elements.
    """
    target = out.view(-1)
    source = values.reshape(-1)
    if target.dtype == source.dtype:
        np.copyto(_bytes(target), _bytes(source))
        return
    if (source.dtype, target.dtype) == (torch.float16, torch.float32):
        lzr2.widen(source.numpy(), target.numpy())  # in one call, without Python's lock: three times as fast
        return
    for start in range(0, target.numel(), _PIECE):
        target[start : start + _PIECE].copy_(source[start : start + _PIECE])


def copy_transposed(out: torch.Tensor, values: torch.Tensor) -> None:
    """Makes ``out`` equal ``values.t().to(out.dtype)`` bit for bit, without entering torch's thread pool.

    Args:
        out: contiguous, on the CPU, (columns, rows).
        values: on the CPU, (rows, columns).
    """
    n_rows, n_columns = values.shape
    at_once = max(1, _PIECE // max(1, n_rows))
    for start in range(0, n_columns, at_once):
        copy_cast(out[start : start + at_once], values[:, start : start + at_once].t().contiguous())


def _bytes(flat: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    array: np.ndarray[tuple[int], np.dtype[np.uint8]] = flat.view(torch.uint8).numpy()
    return array


class DenseTensor:
    """A held tensor in the type it was stored in; keeps exactly the tensor's bytes."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    @property
    def nbytes(self) -> int:
        """Bytes of host memory that it takes."""
        return self._values.nbytes

    def write_into(self, out: torch.Tensor) -> None:
        """Writes the values, cast to ``out``'s type. Thread-safe."""
        copy_cast(out, self._values)

    def write_inflated_into(self, memory: torch.Tensor) -> InflatedSizes:
        """There is no inflated form of it."""
        raise ValueError("a tensor that is held dense has no inflated form")
