"""What a pipeline would pass to SDXL's U-Net, with numbers: the same on every machine and in every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from streamer.models.unet_inputs import TOKENS, StepShape

_PIXELS = 8  # of a picture's side for each of the latent's, as SDXL has it
_TIME = 500  # of 1000: half of the noise


def step_inputs(
    config: Mapping[str, Any],
    shape: StepShape,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Arguments of a forward. They are made in float32 on the CPU, so that they differ in nothing but rounding.

    Args:
        config: of the U-Net, of SDXL's kind (text and time are added).
        shape: of the latent.
        device: to have them on; None: the CPU.
        dtype: of all but the time.
    """
    random = torch.Generator().manual_seed(0)
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    batch, down, across = shape.batch, _PIXELS * shape.height, _PIXELS * shape.width

    def there(values: torch.Tensor) -> torch.Tensor:
        return values.to(device=device, dtype=dtype)

    return {
        "sample": there(torch.randn(batch, config["in_channels"], shape.height, shape.width, generator=random)),
        "timestep": torch.tensor(_TIME, device=device),
        "encoder_hidden_states": there(torch.randn(batch, TOKENS, config["cross_attention_dim"], generator=random)),
        "added_cond_kwargs": {
            "text_embeds": there(torch.randn(batch, pooled, generator=random)),
            "time_ids": there(torch.tensor([[down, across, 0, 0, down, across]] * batch, dtype=torch.float32)),
        },
    }
