"""Which of diffusers' SDXL pipelines draws a request, and what it is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusers import (
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from torch import nn

from streamer.models.conditioning import Conditioning

_KINDS: dict[tuple[str, bool], Any] = {
    ("noise", False): StableDiffusionXLPipeline,
    ("image", False): StableDiffusionXLImg2ImgPipeline,
    ("masked", False): StableDiffusionXLInpaintPipeline,
    ("noise", True): StableDiffusionXLControlNetPipeline,
    ("image", True): StableDiffusionXLControlNetImg2ImgPipeline,
    ("masked", True): StableDiffusionXLControlNetInpaintPipeline,
}
_MODULES = (
    "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler", "image_encoder",
    "feature_extractor",
)  # fmt: skip


def variant(pipe: Any, conditioning: Conditioning, controls: Sequence[nn.Module] = ()) -> Any:
    """A pipeline of the same modules that draws from what the conditioning has; the given one where it does.

    Args:
        pipe: any of the SDXL pipelines.
        conditioning: of the request.
        controls: ControlNets, in the order of the conditioning's.
    """
    kind = _KINDS[_start(conditioning), bool(controls)]
    if type(pipe) is kind and not controls:
        return pipe
    modules = {name: getattr(pipe, name, None) for name in _MODULES}
    if controls:
        modules["controlnet"] = controls[0] if len(controls) == 1 else list(controls)
    zeros = pipe.config.get("force_zeros_for_empty_prompt", True)
    made = kind(**modules, force_zeros_for_empty_prompt=zeros, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made


def refiner_kind(conditioning: Conditioning) -> Any:
    """The class of the pipeline that takes over: it draws within the mask too."""
    return _KINDS["masked" if _start(conditioning) == "masked" else "image", False]


def arguments(conditioning: Conditioning, width: int, height: int) -> dict[str, Any]:
    """What the pipeline is called with besides prompt, steps, guidance and seed.

    Args:
        conditioning: of the request.
        width: pixels.
        height: pixels.
    """
    start, controls = conditioning.start, conditioning.controls
    made: dict[str, Any] = {}
    if start is None or start.mask is not None or controls:
        made |= {"width": width, "height": height}
    if start is not None:
        made |= {"image": start.image.resized(width, height), "strength": start.strength}
        if start.mask is not None:
            made["mask_image"] = start.mask.resized(width, height)
    if controls:
        seen = [hint.image.resized(width, height) for hint in controls]
        scales = [float(hint.scale) for hint in controls]
        made["image" if start is None else "control_image"] = seen[0] if len(seen) == 1 else seen
        made["controlnet_conditioning_scale"] = scales[0] if len(scales) == 1 else scales
    if conditioning.image_prompt is not None:
        made["ip_adapter_image"] = conditioning.image_prompt.image.pixels
    if conditioning.refine_from is not None:
        made |= {"denoising_end": conditioning.refine_from, "output_type": "latent"}
    return made


def taking_over(conditioning: Conditioning, latents: Any, width: int, height: int) -> dict[str, Any]:
    """What the refiner is called with besides prompt, steps, guidance and seed.

    Args:
        conditioning: of the request.
        latents: that the other pipeline has left.
        width: pixels.
        height: pixels.
    """
    made: dict[str, Any] = {"image": latents, "denoising_start": conditioning.refine_from}
    if conditioning.start is not None and conditioning.start.mask is not None:
        mask = conditioning.start.mask.resized(width, height)
        made |= {"mask_image": mask, "width": width, "height": height}
    return made


def _start(conditioning: Conditioning) -> str:
    if conditioning.start is None:
        return "noise"
    return "image" if conditioning.start.mask is None else "masked"
