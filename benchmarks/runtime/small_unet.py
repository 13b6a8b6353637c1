"""A U-Net of SDXL's kind that is made in seconds and whose step takes a fraction of one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel

import lzr2
from benchmarks.compare.inputs import unet_inputs
from streamer.config import UNLIMITED, StreamSettings
from streamer.convert.safetensors_file import write_safetensors
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.sources.lzr2 import Lzr2Source
from streamer.sources.safetensors import SafetensorsSource

PIXELS = 320
_D = 8


def small_config() -> dict[str, Any]:
    """SDXL's, less wide and less deep: 50 million weights."""
    config: dict[str, Any] = json.loads(sdxl_unet_config().read_text("utf-8"))
    return config | {
        "block_out_channels": [64, 128, 256],
        "attention_head_dim": [2, 4, 8],
        "transformer_layers_per_block": [1, 2, 4],
        "cross_attention_dim": 256,
    }


class SmallUnet:
    """Its files, lattice-heavy: the same weights as LZR2 and as safetensors.

    Args:
        folder: to write them into.
    """

    def __init__(self, folder: Path) -> None:
        self.config = small_config()
        self.shapes = expected_tensors(empty_unet(self.config))
        self.lzr2 = folder / "small.lzr2"
        self.safetensors = folder / "small.safetensors"
        random = np.random.default_rng(0)
        lzr2.write_records(self.lzr2, ((key, _tensor(key, shape, random)) for key, shape in self.shapes.items()))
        weights = lzr2.load_file(self.lzr2)
        write_safetensors(self.safetensors, self.shapes, ((key, weights[key]) for key in self.shapes))

    @property
    def total_nbytes(self) -> int:
        """Of all weights in float32."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def resident(self) -> UNet2DConditionModel:
        """All weights in memory."""
        unet = UNet2DConditionModel.from_config(self.config).eval()
        weights = lzr2.load_file(self.lzr2)
        unet.load_state_dict({key: torch.from_numpy(weights[key].astype(np.float32)) for key in self.shapes})
        return unet

    def arguments(self) -> dict[str, Any]:
        """Of a forward."""
        return unet_inputs(self.config, PIXELS, 1, "cpu", torch.float32)

    @contextmanager
    def streamed(self, how: str) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
        """The U-Net streamed, the same resident, and arguments for both.

        Args:
            how: from ``lzr2`` or ``safetensors`` through a third of the memory, or ``all resident``.
        """
        source = SafetensorsSource([self.safetensors]) if how == "safetensors" else Lzr2Source(self.lzr2)
        vram = UNLIMITED if how == "all resident" else self.total_nbytes // 3
        # As on a CPU when nobody says, but for memory and threads that would be the machine's.
        settings = StreamSettings(
            vram,
            self.total_nbytes,
            1,
            hold_only_smaller=True,
            packed_ram_nbytes=min(vram, self.total_nbytes) // 2,
            load_in_pauses=True,
        )
        unet = empty_unet(self.config)
        with stream_unet(unet, source, settings, torch.device("cpu"), torch.float32):
            yield unet, self.resident, self.arguments()


def _tensor(key: str, shape: tuple[int, ...], random: np.random.Generator) -> lzr2.EncodedTensor:
    """On a lattice but for 1 % of the weights; scaled so that results stay of order one."""
    rows, columns = shape[0], math.prod(shape[1:])
    if len(shape) == 1:
        scale, centre = 0.02, 1.0 if "norm" in key and key.endswith("weight") else 0.0
    else:
        scale, centre = math.sqrt(1.5 / columns), 0.0
    count = rows * columns // 100
    places = np.sort(random.choice(rows * columns, count, replace=False))
    return lzr2.EncodedTensor(
        shape=shape,
        d=_D,
        offset=np.full(rows, centre / scale, np.float32),
        scale=np.full(rows, scale, np.float32),
        indices=random.integers(0, 3**_D, (rows, -(-columns // _D))).astype(np.uint16),
        overlay_rows=(places // columns).astype(np.uint16),
        overlay_columns=(places % columns).astype(np.uint16),
        overlay_values=(centre + scale * random.standard_normal(count)).astype(np.float32),
    )
