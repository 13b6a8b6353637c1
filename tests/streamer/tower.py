"""A small module tree and a source in memory: enough to run the engine without a model."""

from __future__ import annotations

import threading
from collections.abc import Collection

import torch
from torch import nn

from streamer.config import StreamSettings
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.peft_layers import wrapped_layer
from streamer.sources.base import HeldTensor, OnRead, TensorInfo
from streamer.sources.cast import DenseTensor, copy_cast

WIDTH = 16
LAYERS = 6
LAYER_NBYTES = 1024 + 512  # weight and bias in float32, each aligned


class Tower(nn.Module):
    """Layers one after the other, in an order that a test may change; `scale` is the small rest."""

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        self.order = list(range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.scale
        for i in self.order:
            x = torch.tanh(self.layers[i](x))
        return x

    def blocks(self) -> list[ModuleBlock]:
        rest = ModuleBlock("rest", self, (ParameterPlace("scale", self, "scale"),), pinned=True)
        return [
            rest,
            *(
                ModuleBlock(
                    f"layers.{i}", layer, tuple(ParameterPlace(f"layers.{i}.{a}", layer, a) for a in ("weight", "bias"))
                )
                for i, layer in enumerate(wrapped_layer(layer) or layer for layer in self.layers)
            ),
        ]


class MemorySource:
    """Tensors in memory. Counts reads; waits at a gate or fails where a test says so."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = {key: tensor.detach().clone() for key, tensor in tensors.items()}
        self.reads: list[str] = []
        self.hints: list[tuple[str, str]] = []
        self.on_read: OnRead | None = None
        self.gates: dict[str, threading.Event] = {}
        self.fails: dict[str, BaseException] = {}
        self.closed = False

    @property
    def name(self) -> str:
        return "memory"

    @property
    def label(self) -> str:
        return "memory"

    def keys(self) -> Collection[str]:
        return self.tensors.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        return [(key, tuple(tensor.shape)) for key, tensor in self.tensors.items()]

    def info(self, key: str) -> TensorInfo:
        tensor = self.tensors[key]
        return TensorInfo(tuple(tensor.shape), tensor.nbytes, tensor.nbytes, tensor.dtype)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        self._read(key)
        copy_cast(out, self.tensors[key])

    def hold(self, key: str) -> HeldTensor:
        self._read(key)
        return DenseTensor(self.tensors[key].clone())

    def will_need(self, key: str) -> None:
        self.hints.append(("will need", key))

    def wont_need(self, key: str) -> None:
        self.hints.append(("won't need", key))

    def observe_reads(self, on_read: OnRead | None) -> None:
        self.on_read = on_read

    def close(self) -> None:
        self.closed = True

    def _read(self, key: str) -> None:
        self.reads.append(key)
        if key in self.gates:
            assert self.gates[key].wait(30)
        if key in self.fails:
            raise self.fails[key]
        if self.on_read is not None:
            self.on_read(0.0, 0.5, self.tensors[key].nbytes)


def stream_tower(
    tower: Tower, settings: StreamSettings, gates: dict[str, threading.Event] | None = None
) -> tuple[StreamHandle, MemorySource]:
    """The tower under the engine, its own weights now in a source."""
    blocks = tower.blocks()
    source = MemorySource({place.key: place.parameter for block in blocks for place in block.places})
    source.gates |= gates or {}
    order = [1 + i for i in tower.order]
    return attach(tower, blocks, order, source, settings, torch.device("cpu"), torch.float32), source


def prefetch_threads() -> list[str]:
    """The names of the worker threads that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streamer-prefetch")]
