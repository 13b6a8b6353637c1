"""A source whose values have gone through another type first, as those of a model that was cast to it and back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource
from streamer.sources.cast import DenseTensor, copy_cast


class RoundedSource:
    """The tensors of the source below, rounded to a type. Thread-safe. Owns the source below.

    Reading into another type holds one tensor in memory meanwhile.

    Args:
        below: read from.
        dtype: that values are rounded to.
    """

    def __init__(self, below: WeightSource, dtype: torch.dtype) -> None:
        self._below = below
        self._dtype = dtype

    @property
    def name(self) -> str:
        """Of the source below."""
        return self._below.name

    @property
    def label(self) -> str:
        """Of the source below."""
        return self._below.label

    def keys(self) -> Collection[str]:
        """Of the source below."""
        return self._below.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Of the source below."""
        return self._below.mentioned()

    def info(self, key: str) -> TensorInfo:
        """Of the source below, with the type that is rounded to."""
        info = self._below.info(key)
        held_nbytes = info.weights * self._dtype.itemsize
        return replace(info, held_nbytes=held_nbytes, dtype=self._dtype, inflated=None, origin=None)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """Rounded, then cast to ``out``'s type."""
        if out.dtype == self._dtype or self._below.info(key).dtype == self._dtype:
            self._below.read_into(key, out)
        else:
            copy_cast(out, self._rounded(key))

    def hold(self, key: str) -> HeldTensor:
        """Dense, in the type that is rounded to."""
        return DenseTensor(self._rounded(key))

    def will_need(self, key: str) -> None:
        """Passed on."""
        self._below.will_need(key)

    def wont_need(self, key: str) -> None:
        """Passed on."""
        self._below.wont_need(key)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the source below."""
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Closes the source below."""
        self._below.close()

    def _rounded(self, key: str) -> torch.Tensor:
        values = torch.empty(self._below.info(key).shape, dtype=self._dtype, device="cpu")
        self._below.read_into(key, values)
        return values
