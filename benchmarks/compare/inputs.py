"""What every runtime's U-Net is given: the same in each process."""

from __future__ import annotations

from typing import Any

import torch


def unet_inputs(config: dict[str, Any], pixels: int, batch: int, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """What a pipeline would pass; drawn on the CPU in float32, so that it is the same for every device.

    Args:
        config: of the U-Net.
        pixels: side of the picture.
        batch: of latents.
        device: to compute on.
        dtype: to compute in.
    """
    random = torch.Generator().manual_seed(0)
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(device, dtype)

    return {
        "sample": drawn(batch, 4, pixels // 8, pixels // 8),
        "timestep": torch.tensor(500, device=device),
        "encoder_hidden_states": drawn(batch, 77, config["cross_attention_dim"]),
        "added_cond_kwargs": {
            "text_embeds": drawn(batch, pooled),
            "time_ids": torch.tensor([[pixels, pixels, 0, 0, pixels, pixels]] * batch, device=device, dtype=dtype),
        },
    }
