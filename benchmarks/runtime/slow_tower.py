"""A module and a disk that only wait: whether the one's waiting hides the other's doesn't depend on processors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from streamer.config import StreamSettings
from streamer.convert.safetensors_file import write_safetensors
from streamer.models.blocks import find_blocks
from streamer.models.turns import in_order_of_tree
from streamer.runtime.attach import attach
from streamer.sources.safetensors import SafetensorsSource

LAYERS, WIDTH = 30, 64
COMPUTE_SECONDS, READ_SECONDS = 0.012, 0.009  # of a layer: read while another computes, it takes no time
_KEPT = 6  # layers that the memory holds


class SlowLayer(nn.Module):
    """Takes its time; its result depends on its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32 [n, WIDTH]; the same shape."""
        time.sleep(COMPUTE_SECONDS)
        return torch.tanh(x @ self.weight)


class SlowSource(SafetensorsSource):
    """A file on a disk that takes its time for each tensor."""

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """After a while."""
        time.sleep(READ_SECONDS)
        super().read_into(key, out)


@contextmanager
def slow_towers(folder: Path, workers: int = 1) -> Iterator[tuple[nn.Module, nn.Module, torch.Tensor]]:
    """A streamed tower, the same resident, and an argument for both.

    Args:
        folder: for a file of its weights.
        workers: threads that read ahead.
    """
    random = np.random.default_rng(0)
    weights = {f"{n}.weight": random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float16) for n in range(LAYERS)}
    path = folder / "tower.safetensors"
    write_safetensors(path, {key: weight.shape for key, weight in weights.items()}, weights.items())
    resident, streamed = _tower(), _tower()
    resident.load_state_dict({key: torch.from_numpy(weight.astype(np.float32)) for key, weight in weights.items()})
    settings = StreamSettings(_KEPT * 4 * WIDTH * WIDTH, 0, workers)
    blocks = find_blocks(streamed, ("SlowLayer",))
    source, device = SlowSource([path]), torch.device("cpu")
    with attach(streamed, blocks, in_order_of_tree(blocks), source, settings, device, torch.float32):
        yield streamed, resident, torch.from_numpy(random.normal(0, 1, (2, WIDTH)).astype(np.float32))


def _tower() -> Any:
    return nn.Sequential(*(SlowLayer() for _ in range(LAYERS))).eval()
