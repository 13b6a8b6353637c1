"""The parts' architectures: SDXL's, made small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .drawings import SIDE

FACTOR = 4
"""Pixels of a side for each of the latent's."""
VOCABULARY = 2000
LENGTH = 77
WIDTHS = (64, 128)
"""Of the two text encoders; the U-Net's cross-attention has both."""
PROJECTION = 128
SCALING = 0.13025
"""SDXL's."""


def build_unet(*, small: bool = False) -> Any:
    """The U-Net, untrained: 9.58 million weights, or a few thousand."""
    from diffusers import UNet2DConditionModel

    widths = (16, 16, 32) if small else (48, 96, 192)
    return UNet2DConditionModel(
        sample_size=SIDE // FACTOR,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=1,
        transformer_layers_per_block=1 if small else (1, 1, 1),
        attention_head_dim=1 if small else (1, 3, 6),
        norm_num_groups=8 if small else 16,
        cross_attention_dim=sum(WIDTHS),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=6 * 32 + PROJECTION,
    )


def build_vae(*, small: bool = False) -> Any:
    """The VAE, untrained: factor 4, four channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8) if small else (16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIDE,
        scaling_factor=SCALING,
    )


def build_text_encoders(begin: int, end: int) -> tuple[Any, Any]:
    """Both text encoders, untrained.

    Args:
        begin: the token that begins a text.
        end: the token that ends it, which pads the first encoder's texts; the second's are padded with token 0.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def config(width: int, heads: int, act: str, pad: int, projection: int) -> Any:
        return CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=projection,
            num_hidden_layers=2,
            num_attention_heads=heads,
            max_position_embeddings=LENGTH,
            hidden_act=act,
            bos_token_id=begin,
            eos_token_id=end,
            pad_token_id=pad,
        )

    first = CLIPTextModel(config(WIDTHS[0], 2, "quick_gelu", end, WIDTHS[0]))
    second = CLIPTextModelWithProjection(config(WIDTHS[1], 4, "gelu", 0, PROJECTION))
    return first, second


def load_unet(folder: Path) -> Any:
    """A U-Net in float32."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32)


def load_vae(folder: Path) -> Any:
    """A VAE in float32, not to be trained."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval().requires_grad_(False)
