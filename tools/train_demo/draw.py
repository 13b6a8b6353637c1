"""Drawing with the parts: many pictures at once, each from its own seed, as the pipeline draws one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .drawings import SIDE
from .shapes import FACTOR
from .texts import Texts

STEPS = 25
GUIDANCE = 2.5


def build_scheduler() -> Any:
    """Euler with SDXL's betas, for v-prediction."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        steps_offset=1,
        timestep_spacing="leading",
    )


@torch.no_grad()
def draw_latents(
    unet: Any, texts: Texts, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, device: str
) -> torch.Tensor:
    """Latents as the U-Net draws them, scaled as it sees them: [prompts, 4, height, width], on the CPU.

    Args:
        unet: on the device.
        texts: encodes prompts.
        prompts: what to draw.
        seeds: of each one's noise.
        steps: of denoising.
        guidance: scale.
        device: where the U-Net is.
    """
    from .unet import time_ids

    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    hidden, pooled = texts.encode(prompts)
    hidden = torch.cat([torch.zeros_like(hidden), hidden])
    conditions = {
        "text_embeds": torch.cat([torch.zeros_like(pooled), pooled]),
        "time_ids": time_ids(2 * len(prompts), device),
    }
    shape = (1, 4, SIDE // FACTOR, SIDE // FACTOR)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    latents: torch.Tensor = torch.cat(noise) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([latents, latents]), time)
        both = both.to(device, memory_format=torch.channels_last)
        found = unet(both, time, encoder_hidden_states=hidden, added_cond_kwargs=conditions).sample.float().cpu()
        without, found = found.chunk(2)
        latents = scheduler.step(without + guidance * (found - without), time, latents).prev_sample
    return latents


def load_pipeline(folder: Path, device: str) -> Any:
    """A whole pipeline by diffusers, in float32."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, at_once: int = 8
) -> np.ndarray:
    """Pictures as the pipeline draws them: [prompts, height, width, 3], 0 to 1, rounded to bytes.

    Args:
        pipeline: as from ``load_pipeline``.
        prompts: what to draw.
        seeds: of each one's noise.
        steps: of denoising.
        guidance: scale.
        at_once: prompts in a batch.
    """
    result = []
    for begin in range(0, len(prompts), at_once):
        some = list(prompts[begin : begin + at_once])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[begin : begin + at_once]]
        images = pipeline(
            some, num_inference_steps=steps, guidance_scale=guidance, width=SIDE, height=SIDE, generator=generators
        ).images
        result += [np.asarray(image.convert("RGB"), np.float32) / 255 for image in images]
    return np.stack(result)
