"""Which pipeline draws, and what it is called with, follows from the request alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest

from streamer.models.conditioning import Conditioning, Hint, Start
from streamer.models.input_image import read_image
from streamer.models.variants import arguments, refiner_kind, taking_over, variant
from tests.streamer import adapters


def made_of(tmp_path: Path, *, image: bool = False, mask: bool = False, controls: int = 0, **more: Any) -> Conditioning:
    picture = read_image(adapters.picture(tmp_path / "a.png"))
    masked = read_image(adapters.mask(tmp_path / "m.png"), mask=True) if mask else None
    start = Start(picture, 0.5, masked) if image else None
    return Conditioning(start, tuple(Hint(picture, 0.1 * (i + 1)) for i in range(controls)), **more)


def test_a_text_alone_is_drawn_by_the_pipeline_itself_with_nothing_but_a_size(tmp_path):
    pipe = diffusers.StableDiffusionXLPipeline.__new__(diffusers.StableDiffusionXLPipeline)
    assert variant(pipe, made_of(tmp_path)) is pipe
    assert arguments(made_of(tmp_path), 64, 32) == {"width": 64, "height": 32}


def test_each_kind_gets_its_own_arguments(tmp_path):
    image = arguments(made_of(tmp_path, image=True), 64, 32)
    assert (set(image), image["image"].size) == ({"image", "strength"}, (64, 32))
    masked = arguments(made_of(tmp_path, image=True, mask=True), 64, 32)
    assert set(masked) == {"image", "strength", "mask_image", "width", "height"}
    one = arguments(made_of(tmp_path, controls=1), 64, 32)
    assert (one["image"].size, one["controlnet_conditioning_scale"]) == ((64, 32), 0.1)
    two = arguments(made_of(tmp_path, image=True, controls=2), 64, 32)
    assert (len(two["control_image"]), two["controlnet_conditioning_scale"]) == (2, [0.1, 0.2])


@pytest.mark.parametrize(("mask", "kind"), [(False, "Img2Img"), (True, "Inpaint")])
def test_a_refiner_goes_on_from_latents_and_within_the_mask(tmp_path, mask, kind):
    conditioning = made_of(tmp_path, image=mask, mask=mask, refine_from=0.75)
    assert refiner_kind(conditioning) is getattr(diffusers, f"StableDiffusionXL{kind}Pipeline")
    left = arguments(conditioning, 64, 32)
    assert (left["denoising_end"], left["output_type"]) == (0.75, "latent")
    latents = SimpleNamespace()
    taken = taking_over(conditioning, latents, 64, 32)
    assert taken["image"] is latents
    assert taken["denoising_start"] == 0.75
    assert ("mask_image" in taken) == mask
