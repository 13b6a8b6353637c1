"""One source over another: each tensor comes from the upper one if it has it, else from the lower."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource
from streamer.sources.closing import close_all


class LayeredSource:
    """The tensors of several sources, the first that has a key gives it. Owns its layers and closes them.

    Args:
        layers: topmost first; at least one.
        hidden: keys that the topmost layer has but must not give (of another shape than the model's).
    """

    def __init__(self, layers: Sequence[WeightSource], hidden: Collection[str] = ()) -> None:
        self._layers = tuple(layers)
        self._owner: dict[str, WeightSource] = {}
        for layer in reversed(self._layers):
            skipped = frozenset(hidden) if layer is self._layers[0] else frozenset()
            self._owner |= {key: layer for key in layer.keys() if key not in skipped}

    @property
    def name(self) -> str:
        """The topmost layer's, and what it lies over."""
        return " over ".join(layer.name for layer in self._layers)

    @property
    def label(self) -> str:
        """As `name`, without folders."""
        return " over ".join(layer.label for layer in self._layers)

    def keys(self) -> Collection[str]:
        """The keys of all layers together."""
        return self._owner.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key and shape of every tensor that some layer gives."""
        return [(key, layer.info(key).shape) for key, layer in self._owner.items()]

    def info(self, key: str) -> TensorInfo:
        """Of the layer that gives the tensor."""
        return self._owner[key].info(key)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """From the layer that gives the tensor."""
        self._owner[key].read_into(key, out)

    def hold(self, key: str) -> HeldTensor:
        """From the layer that gives the tensor."""
        return self._owner[key].hold(key)

    def will_need(self, key: str) -> None:
        """Passed on to the layer that gives the tensor."""
        self._owner[key].will_need(key)

    def wont_need(self, key: str) -> None:
        """Passed on to the layer that gives the tensor."""
        self._owner[key].wont_need(key)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of every layer."""
        for layer in self._layers:
            layer.observe_reads(on_read)

    def close(self) -> None:
        """Closes every layer."""
        close_all(*(layer.close for layer in self._layers))
