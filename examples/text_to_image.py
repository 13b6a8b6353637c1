"""A picture from a text, everything under one budget.

    python examples/text_to_image.py

Without weights the embedded demo draws. With SDXL: `weights="sdxl.lzr2"` (or any SDXL checkpoint in safetensors) and
`vram_budget="4GB"`.
"""

from __future__ import annotations

import torch

import streamer

pipe = streamer.load_pipeline(vram_budget="16MB")
picture = pipe(
    "red apple",
    num_inference_steps=12,
    guidance_scale=2.5,
    width=64,
    height=64,
    generator=torch.Generator("cpu").manual_seed(0),
).images[0]
picture.save("red-apple.png")
print("red-apple.png, of", pipe.streaming.unet.plan.total_nbytes, "bytes of U-Net within", pipe.streaming.budget_nbytes)
pipe.streaming.close()
