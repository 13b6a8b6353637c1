"""A streamed U-Net in a pipeline that a program makes itself: one line changed.

    python examples/own_pipeline.py

With SDXL: `streamer.load_unet("sdxl.lzr2", vram_budget="3GB")` and "stabilityai/stable-diffusion-xl-base-1.0".
"""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLPipeline

import streamer
from streamer.models.demo import demo_directory

unet = streamer.load_unet(vram_budget="9MB", device="cpu")
pipe = StableDiffusionXLPipeline.from_pretrained(
    demo_directory(), unet=unet, torch_dtype=torch.float32, add_watermarker=False
)
call = {"num_inference_steps": 12, "guidance_scale": 2.5, "width": 64, "height": 64}
little = pipe("blue heart", generator=torch.Generator("cpu").manual_seed(0), **call).images[0]

unet.streaming.budget = "20MB"  # from the next step on
more = pipe("blue heart", generator=torch.Generator("cpu").manual_seed(0), **call).images[0]
if little.tobytes() != more.tobytes():
    raise SystemExit("a budget never changes the picture")
more.save("blue-heart.png")
print("blue-heart.png, the same with", "9MB and 20MB")
unet.streaming.close()
