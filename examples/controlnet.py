"""A ControlNet that streams under the same budget as the pipeline.

    python examples/controlnet.py

Here a new one without training is made from the U-Net: it says nothing yet. With SDXL, make one without memory
(`ControlNetModel.from_config` on torch's meta device) and give its file: "diffusion_pytorch_model.safetensors".
"""

from __future__ import annotations

import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline
from PIL import Image
from safetensors.torch import save_file

import streamer

pipe = streamer.load_pipeline(vram_budget="24MB")
with torch.device("meta"):
    # The demo's VAE makes a quarter of the pixels' sides, SDXL's an eighth: (16, 32, 96, 256) there.
    control = ControlNetModel.from_unet(
        pipe.unet, conditioning_embedding_out_channels=(16, 32, 96), load_weights_from_unet=False
    )
file = "controlnet.safetensors"
random = torch.Generator().manual_seed(0)
save_file({key: 0.01 * torch.randn(value.shape, generator=random) for key, value in control.state_dict().items()}, file)

handle = streamer.attach(control, file, share=pipe.streaming)
controlled = StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=control)
controlled(
    "star",
    image=Image.new("RGB", (64, 64), "white"),
    num_inference_steps=12,
    guidance_scale=2.5,
    generator=torch.Generator("cpu").manual_seed(0),
).images[0].save("star.png")
print("star.png;", handle.stats.totals.work.loaded_nbytes, "bytes of the ControlNet were streamed")
handle.close()
pipe.streaming.close()
