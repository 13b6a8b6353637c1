"""What a pipeline passes to SDXL's U-Net, as shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from streamer.errors import ModelError
from streamer.models.activations import ActivationMeter
from streamer.models.unet import empty_unet

TOKENS = 77
"""Of a prompt."""


@dataclass(frozen=True)
class StepShape:
    """The size of what one forward works on.

    Attributes:
        width: of the latent.
        height: of the latent.
        batch: 2 with guidance, else 1.
    """

    width: int
    height: int
    batch: int


def unet_inputs(config: Mapping[str, Any], dtype: torch.dtype, shape: StepShape) -> dict[str, Any]:
    """Arguments of a forward as a pipeline passes them, on the meta device.

    Args:
        config: of the U-Net, of SDXL's kind (text and time are added).
        dtype: of all but the time.
        shape: of the latent.

    Raises:
        ModelError: it is of another kind.
    """
    told, of_time = config.get("projection_class_embeddings_input_dim"), config.get("addition_time_embed_dim")
    if not isinstance(told, int) or not isinstance(of_time, int) or told <= 6 * of_time:
        raise ModelError(
            "the U-Net",
            f"its configuration takes no summary of the prompt and no sizes ({told!a}, {of_time!a}).",
            "Is it a model of Stable Diffusion XL? Others can't be streamed.",
        )
    pooled = told - 6 * of_time

    def empty(*sizes: int) -> torch.Tensor:
        return torch.empty(shape.batch, *sizes, dtype=dtype, device="meta")

    return {
        "sample": empty(config["in_channels"], shape.height, shape.width),
        "timestep": torch.empty((), device="meta"),
        "encoder_hidden_states": empty(TOKENS, config["cross_attention_dim"]),
        "added_cond_kwargs": {"text_embeds": empty(pooled), "time_ids": empty(6)},
    }


def unet_activations(config: Mapping[str, Any], dtype: torch.dtype, shape: StepShape, device: torch.device) -> int:
    """Bytes that a forward of such a U-Net needs beside weights.

    Args:
        config: of the U-Net.
        dtype: to compute in.
        shape: of the latent.
        device: to compute on.
    """
    unet: nn.Module = empty_unet(config)
    # The library's own `to` warns of parts to be kept in float32, of which there are none.
    meter = ActivationMeter(lambda: nn.Module.to(unet, dtype), name="the U-Net", on_processor=device.type == "cpu")
    return meter((), unet_inputs(config, dtype, shape))
