"""One picture drawn from another, and one drawn within a mask: other pipelines of the same streamed parts.

    python examples/image_to_image_and_inpainting.py

With SDXL: `load_pipeline(weights="sdxl.lzr2", vram_budget="4GB")`.
"""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

import streamer


def noise() -> torch.Generator:
    return torch.Generator("cpu").manual_seed(0)


pipe = streamer.load_pipeline(vram_budget="20MB")
call = {"num_inference_steps": 12, "guidance_scale": 2.5}
apple = pipe("red apple", width=64, height=64, generator=noise(), **call).images[0]
apple.save("apple.png")

# `from_pipe` makes no second copy of the weights.
again = StableDiffusionXLImg2ImgPipeline.from_pipe(pipe)
again("blue apple", image=apple, strength=0.9, generator=noise(), **call).images[0].save("blue-apple.png")

right_half = Image.new("L", apple.size)
right_half.paste(255, (32, 0, 64, 64))
within = StableDiffusionXLInpaintPipeline.from_pipe(pipe)
within(
    "green apple", image=apple, mask_image=right_half, strength=0.9, width=64, height=64, generator=noise(), **call
).images[0].save("half-green-apple.png")
print("apple.png blue-apple.png half-green-apple.png")
pipe.streaming.close()
