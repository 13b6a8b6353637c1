"""A tower's weights in real files: both kinds of LZR2, and safetensors."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file

import lzr2
from streamer.config import StreamSettings
from streamer.runtime.attach import StreamHandle, attach
from streamer.sources.base import WeightSource
from streamer.sources.lzr2 import Lzr2Source
from streamer.sources.safetensors import SafetensorsSource
from tests.streamer.tower import Tower

KINDS = ("lattice-heavy", "overlay-heavy", "safetensors")


def tower_in_file(kind: str, folder: Path) -> tuple[Tower, Path]:
    """A tower whose weights are exactly what the file gives, in the kind's form."""
    tower = Tower()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in tower.parameters():
            values = torch.randn(parameter.shape, generator=random) * 0.3
            if kind == "lattice-heavy":
                values = values.sign() * 0.25 * (values.abs() > 0.15)
                values.view(-1)[::97] = 0.7
            parameter.copy_(values.half())
    path = folder / f"{kind}.weights"
    halves = {key: tensor.half() for key, tensor in tower.state_dict().items()}
    if kind == "safetensors":
        save_file(halves, path)
    else:
        lzr2.save_file({key: tensor.numpy() for key, tensor in halves.items()}, path, d=8)
    return tower, path


def open_tower(path: Path) -> WeightSource:
    """A source over the file."""
    return SafetensorsSource([path]) if path.name.startswith("safetensors") else Lzr2Source(path)


def stream_file(tower: Tower, source: WeightSource, settings: StreamSettings) -> tuple[Tower, StreamHandle]:
    """A copy of the tower under the engine, its weights from the source."""
    streamed = copy.deepcopy(tower)
    order = [1 + i for i in tower.order]
    device = torch.device("cpu")
    return streamed, attach(streamed, streamed.blocks(), order, source, settings, device, torch.float32)
