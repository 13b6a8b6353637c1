"""SDXL's U-Net as blocks: which modules move as one, in which order they run, and which are the runway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from streamer.config import StreamSettings
from streamer.models.blocks import find_blocks
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.bind import ModuleBlock
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


def execution_order(blocks: Sequence[ModuleBlock]) -> tuple[int, ...]:
    """The turns of one forward, as numbers of blocks, known before the first.

    The tree lists a level's transformers before its resnets, and the middle last; a forward alternates between resnet
    and transformer, and goes down, through the middle and up.
    """
    return tuple(sorted((i for i, b in enumerate(blocks) if not b.pinned), key=lambda i: _turn_key(blocks[i].name)))


def _turn_key(name: str) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Sorts names of a U-Net's modules by when they run: phase, level, place within the level, kind, rest."""
    parts = name.split(".")
    phase = _PHASES.get(parts[0], len(_PHASES))
    rest = parts[1:]
    level = 0
    if parts[0] in ("down_blocks", "up_blocks"):
        level, rest = int(rest[0]), rest[1:]
    if not rest or rest[0] not in _KINDS_IN_LEVEL:
        return phase, level, 0, 0, tuple(int(part[-1]) if part[-1].isdigit() else 0 for part in rest)
    kind, number = _KINDS_IN_LEVEL[rest[0]], int(rest[1])
    if kind == _SAMPLER:
        number = 1 << 30  # after all resnets and transformers of the level
    if parts[0] == "mid_block" and kind == _RESNET and number > 0:
        number, kind = number - 1, _TRANSFORMER + 1  # resnet, then pairs of transformer and resnet
    within = tuple(_LEAVES.get(part, int(part) if part.isdigit() else 0) for part in rest[2:])
    return phase, level, number, kind, within


_PHASES = {"time_embedding": 0, "add_embedding": 1, "conv_in": 2, "down_blocks": 3, "mid_block": 4, "up_blocks": 5,
           "conv_norm_out": 6, "conv_out": 7}  # fmt: skip
_RESNET, _TRANSFORMER, _SAMPLER = 0, 1, 3
_KINDS_IN_LEVEL = {"resnets": _RESNET, "attentions": _TRANSFORMER, "downsamplers": _SAMPLER, "upsamplers": _SAMPLER}
_LEAVES = {"norm": -3, "proj_in": -2, "transformer_blocks": -1, "proj_out": 1 << 20}


def stream_unet(
    unet: UNet2DConditionModel,
    source: WeightSource,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
) -> StreamHandle:
    """The U-Net runs with weights that stream from the source; it stays a real `UNet2DConditionModel`.

    Args:
        unet: as `empty_unet` gives it, or one with weights, which it loses.
        source: of all its weights; the handle closes it.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.

    Raises:
        BudgetError: the budget can't hold the largest block.
    """
    blocks = unet_blocks(unet)
    return attach(unet, blocks, execution_order(blocks), source, settings, device, dtype)
