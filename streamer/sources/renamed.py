"""A source whose tensors go by other keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource


class RenamedSource:
    """The tensors of the source below under the given keys, and no others. Owns the source below and closes it.

    Args:
        below: read from.
        names: key here to key there.
    """

    def __init__(self, below: WeightSource, names: Mapping[str, str]) -> None:
        self._below = below
        self._names = dict(names)

    @property
    def name(self) -> str:
        """Of the source below."""
        return self._below.name

    @property
    def label(self) -> str:
        """Of the source below."""
        return self._below.label

    def keys(self) -> Collection[str]:
        """The keys here."""
        return self._names.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key here and shape of every tensor."""
        return [(key, self.info(key).shape) for key in self._names]

    def info(self, key: str) -> TensorInfo:
        """Of the source below."""
        return self._below.info(self._names[key])

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """From the source below."""
        self._below.read_into(self._names[key], out)

    def hold(self, key: str) -> HeldTensor:
        """From the source below."""
        return self._below.hold(self._names[key])

    def will_need(self, key: str) -> None:
        """Passed on."""
        self._below.will_need(self._names[key])

    def wont_need(self, key: str) -> None:
        """Passed on."""
        self._below.wont_need(self._names[key])

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the source below."""
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Closes the source below."""
        self._below.close()
