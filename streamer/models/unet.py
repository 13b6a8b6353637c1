"""SDXL's U-Net as blocks: which modules move as one, in which order they run, and which are the runway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from streamer.config import StreamSettings
from streamer.models.blocks import find_blocks
from streamer.models.turns import execution_order
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.bind import ModuleBlock
from streamer.runtime.share import OnForward
from streamer.sources.base import WeightSource

_BLOCK_KINDS = ("ResnetBlock2D", "BasicTransformerBlock", "Downsample2D", "Upsample2D")


def empty_unet(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """A U-Net of this configuration whose parameters have shapes and no memory.

    Args:
        config: as in a model directory's ``unet/config.json``.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(config))
    return unet.eval()


def expected_tensors(unet: UNet2DConditionModel) -> dict[str, tuple[int, ...]]:
    """Key and shape of every parameter, in the model's order."""
    return {key: tuple(parameter.shape) for key, parameter in unet.named_parameters()}


def unet_blocks(unet: UNet2DConditionModel) -> list[ModuleBlock]:
    """A partition of the U-Net's parameters; none larger than a ResnetBlock2D or a BasicTransformerBlock.

    Runway are the outermost two levels, which are small and see the largest pictures: with SDXL 366 MB in float16 do
    31 % of the work.
    """
    levels = len(unet.config.down_block_types)
    outer_down = [f"down_blocks.{i}." for i in range(levels - 1)]
    outer_up = [f"up_blocks.{i}." for i in range(1, levels)]
    return find_blocks(unet, _BLOCK_KINDS, lambda name: name.startswith((*outer_down, *outer_up)))


def stream_unet(
    unet: UNet2DConditionModel,
    source: WeightSource,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
    on_forward: OnForward | None = None,
) -> StreamHandle:
    """The U-Net runs with weights that stream from the source; it stays a real `UNet2DConditionModel`.

    Args:
        unet: as `empty_unet` gives it, or one with weights, which it loses.
        source: of all its weights; the handle closes it.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.
        on_forward: told of the arguments before each forward; until the first, no device memory is taken then.

    Raises:
        BudgetError: the budget can't hold the largest block.
    """
    blocks = unet_blocks(unet)
    order = execution_order(blocks)
    asleep = on_forward is not None
    return attach(unet, blocks, order, source, settings, device, dtype, asleep=asleep, on_forward=on_forward)
