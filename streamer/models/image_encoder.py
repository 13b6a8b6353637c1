"""The image encoder of an IP-Adapter, streamed: a module without memory whose layers move as blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from streamer.errors import ModelError
from streamer.models.activations import ActivationMeter
from streamer.models.blocks import find_blocks
from streamer.models.config_faults import CONFIG_FAULTS
from streamer.models.directory import read_json
from streamer.models.part_weights import PartWeights, open_part
from streamer.models.parts import PipelineParts
from streamer.models.picture_size import PictureSize
from streamer.models.turns import in_order_of_tree
from streamer.models.weight_files import diffusers_files
from streamer.runtime.torch_names import own_buffers

_NAME = "the image encoder"
_PREFIX = "vision_model."
_POSITIONS = "position_ids"


def stream_image_encoder(
    folder: Path, parts: PipelineParts, device: torch.device, dtype: torch.dtype
) -> CLIPVisionModelWithProjection:
    """The image encoder as a module whose weights stream under the budget of the pipeline's parts; they close it.

    Args:
        folder: with ``config.json`` and safetensors.
        parts: of the pipeline.
        device: to compute on.
        dtype: to compute in.

    Raises:
        ModelError: there is no image encoder.
        WeightsFileError: a file can't be used.
        WeightsMismatchError: they aren't all there.
        BudgetError: the budget can't hold its largest block.
    """
    name = str(folder)
    config = read_json(name, folder / "config.json")
    encoder = _empty(name, config)
    files = diffusers_files(folder, "model")
    if not files:
        raise ModelError(name, "the image encoder has no weights in safetensors (model.safetensors).")
    source = open_part(PartWeights.of_files(files), encoder, lambda key: (_PREFIX + key, key.removeprefix(_PREFIX)))
    for owner in encoder.modules():
        for key, buffer in own_buffers(owner).items():
            if buffer is not None:
                own_buffers(owner)[key] = buffer.to(device)
    side, channels = encoder.config.image_size, encoder.config.num_channels

    def needs(meter: ActivationMeter, _: PictureSize) -> int:
        seen = torch.empty((1, channels, side, side), dtype=dtype, device="meta")
        return meter((seen,), {"output_hidden_states": True})

    blocks = find_blocks(encoder, ("CLIPEncoderLayer",))
    parts.add(_NAME, encoder, blocks, in_order_of_tree(blocks), source, needs)
    return encoder


def _empty(name: str, config: Mapping[str, Any]) -> Any:
    vision = config.get("vision_config", config)  # of a whole CLIP, its half that sees
    try:
        with torch.device("meta"):
            encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision))
    except CONFIG_FAULTS as error:
        problem = f"its config.json describes no image encoder that can be built ({type(error).__name__}: {error})."
        raise ModelError(name, problem) from error
    for owner in encoder.modules():
        for key, buffer in own_buffers(owner).items():
            if buffer is not None and key == _POSITIONS:
                own_buffers(owner)[key] = torch.arange(buffer.shape[-1]).expand(1, -1)
    return encoder.eval()
