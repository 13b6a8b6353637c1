"""Pictures drawn from pictures, with adapters, streamed under one budget: equal to diffusers' own, loaded whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from transformers import CLIPVisionModelWithProjection

from streamer.models.conditioning import Conditioning, Hint, Start
from streamer.models.demo import demo_directory
from streamer.models.extras import ExtraOptions
from streamer.models.input_image import read_image
from streamer.models.ip_adapter import IpAdapterFile
from streamer.models.lora import LoraFile
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from tests.streamer import adapters

BUDGET = 14_000_000
CALL: dict[str, Any] = {"prompt": "sun", "num_inference_steps": 4, "guidance_scale": 2.5}
SIZE = {"width": 64, "height": 64}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for number in (0, 1):
        adapters.picture(folder / f"{number}.png", number)
        adapters.controlnet(folder / f"control{number}", number)
    adapters.mask(folder / "mask.png")
    adapters.lora(folder, "a.safetensors", 0)
    adapters.lora(folder, "b.safetensors", 1, text=False, alpha=2)
    adapters.kohya_lora(folder / "kohya.safetensors")
    adapters.ip_adapter(folder / "ip")
    adapters.refiner(folder / "refiner")
    return folder


@pytest.fixture
def whole() -> Any:
    return adapters.demo_pipe()


def ours(
    demo_lzr2: Path, extras: ExtraOptions, conditioning: Conditioning, dtype: torch.dtype | None = None, **changes: Any
) -> np.ndarray:
    options = PipelineOptions(
        weights=demo_lzr2, device="cpu", vram_budget_nbytes=BUDGET, extras=extras, workers=1, dtype=dtype
    )
    request = Request("sun", None, seed=1, steps=4, guidance=2.5, width=64, height=64, conditioning=conditioning)
    with open_pipeline(options, lambda line: None) as pipeline:
        picture = np.asarray(pipeline.generate(replace(request, **changes)))
        again = np.asarray(pipeline.generate(replace(request, **changes)))
        assert pipeline.parts.share.nbytes == BUDGET
        for handle in pipeline.parts.handles.values():
            assert handle.device_nbytes <= BUDGET
    assert np.array_equal(picture, again)
    return picture


def theirs(pipe: Any, **arguments: Any) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    image = pipe(generator=torch.Generator("cpu").manual_seed(1), **(CALL | arguments)).images[0]
    return np.asarray(image)


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def started(files: Path, strength: float, *, masked: bool = False) -> Start:
    mask = read_image(files / "mask.png", mask=True) if masked else None
    return Start(read_image(files / "0.png"), strength, mask)


def whole_controls(files: Path, count: int) -> Any:
    made = [ControlNetModel.from_pretrained(files / f"control{number}").eval() for number in range(count)]
    return made if count > 1 else made[0]


def test_an_image_is_drawn_anew(demo_lzr2, files, whole):
    want = theirs(StableDiffusionXLImg2ImgPipeline.from_pipe(whole), image=opened(files / "0.png"), strength=0.6)
    assert np.array_equal(ours(demo_lzr2, ExtraOptions(), Conditioning(started(files, 0.6))), want)


def test_within_a_mask(demo_lzr2, files, whole):
    pipe = StableDiffusionXLInpaintPipeline.from_pipe(whole)
    mask = Image.open(files / "mask.png").convert("L")
    want = theirs(pipe, image=opened(files / "0.png"), mask_image=mask, strength=0.9, **SIZE)
    assert np.array_equal(ours(demo_lzr2, ExtraOptions(), Conditioning(started(files, 0.9, masked=True))), want)


@pytest.mark.parametrize("count", [1, 2])
def test_controlnets(demo_lzr2, files, whole, count):
    pipe = StableDiffusionXLControlNetPipeline.from_pipe(whole, controlnet=whole_controls(files, count))
    seen = [opened(files / f"{number}.png") for number in range(count)]
    scales = [0.8, 0.3][:count]
    one = count == 1
    want = theirs(
        pipe, image=seen[0] if one else seen, controlnet_conditioning_scale=scales[0] if one else scales, **SIZE
    )
    hints = tuple(Hint(read_image(files / f"{number}.png"), scales[number]) for number in range(count))
    extras = ExtraOptions(controls=tuple(str(files / f"control{number}") for number in range(count)))
    assert np.array_equal(ours(demo_lzr2, extras, Conditioning(controls=hints)), want)
    assert not np.array_equal(want, ours(demo_lzr2, ExtraOptions(), Conditioning()))


@pytest.mark.parametrize("masked", [False, True])
def test_a_controlnet_and_an_image(demo_lzr2, files, whole, masked):
    kind = StableDiffusionXLControlNetInpaintPipeline if masked else StableDiffusionXLControlNetImg2ImgPipeline
    pipe = kind.from_pipe(whole, controlnet=whole_controls(files, 1))
    mask = {"mask_image": Image.open(files / "mask.png").convert("L")} if masked else {}
    pictures = {"image": opened(files / "0.png"), "control_image": opened(files / "1.png")}
    want = theirs(pipe, strength=0.8, controlnet_conditioning_scale=0.5, **pictures, **mask, **SIZE)
    hints = (Hint(read_image(files / "1.png"), 0.5),)
    conditioning = Conditioning(started(files, 0.8, masked=masked), hints)
    assert np.array_equal(ours(demo_lzr2, ExtraOptions(controls=(str(files / "control0"),)), conditioning), want)


def test_a_controlnet_in_a_file_without_a_configuration(demo_lzr2, files, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((files / "control0" / "diffusion_pytorch_model.safetensors").read_bytes())
    hints = Conditioning(controls=(Hint(read_image(files / "1.png"), 0.5),))
    with_config = ours(demo_lzr2, ExtraOptions(controls=(str(files / "control0"),)), hints)
    assert np.array_equal(ours(demo_lzr2, ExtraOptions(controls=(str(alone),)), hints), with_config)


@pytest.mark.parametrize("chosen", [[("a", 0.7)], [("a", 0.7), ("b", -0.4)], [("kohya", 0.9)]])
def test_loras(demo_lzr2, files, whole, chosen):
    for name, _ in chosen:
        whole.load_lora_weights(str(files), weight_name=f"{name}.safetensors", adapter_name=name)
    whole.set_adapters([name for name, _ in chosen], adapter_weights=[scale for _, scale in chosen])
    want = theirs(whole, **SIZE)
    loras = tuple(LoraFile(files / f"{name}.safetensors", scale) for name, scale in chosen)
    assert np.array_equal(ours(demo_lzr2, ExtraOptions(loras=loras), Conditioning()), want)
    assert not np.array_equal(want, ours(demo_lzr2, ExtraOptions(), Conditioning()))


def test_an_ip_adapter(demo_lzr2, files, whole):
    encoder = CLIPVisionModelWithProjection.from_pretrained(files / "ip" / "image_encoder").eval()
    whole.register_modules(image_encoder=encoder)
    whole.load_ip_adapter(str(files / "ip"), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None)
    whole.set_ip_adapter_scale(0.6)
    want = theirs(whole, ip_adapter_image=opened(files / "1.png"), **SIZE)
    conditioning = Conditioning(image_prompt=Hint(read_image(files / "1.png"), 0.6))
    extras = ExtraOptions(ip_adapter=IpAdapterFile(files / "ip" / "ip.safetensors"))
    assert np.array_equal(ours(demo_lzr2, extras, conditioning), want)
    assert not np.array_equal(want, ours(demo_lzr2, ExtraOptions(), Conditioning()))


@pytest.mark.parametrize("start", ["noise", "image", "masked"])
def test_a_refiner_takes_over(demo_lzr2, files, whole, start):
    second = (
        StableDiffusionXLInpaintPipeline if start == "masked" else StableDiffusionXLImg2ImgPipeline
    ).from_pretrained(files / "refiner", text_encoder_2=whole.text_encoder_2, vae=whole.vae, add_watermarker=False)
    second.set_progress_bar_config(disable=True)
    mask = {"mask_image": Image.open(files / "mask.png").convert("L")} if start == "masked" else {}
    first, arguments = {
        "noise": (whole, SIZE),
        "image": (StableDiffusionXLImg2ImgPipeline.from_pipe(whole), {"image": opened(files / "0.png")}),
        "masked": (StableDiffusionXLInpaintPipeline.from_pipe(whole), {"image": opened(files / "0.png"), **SIZE}),
    }[start]
    first.set_progress_bar_config(disable=True)
    more = {} if start == "noise" else {"strength": 0.9}
    generator = torch.Generator("cpu").manual_seed(1)
    call = CALL | {"generator": generator, "num_inference_steps": 6}
    latents = first(**(call | arguments | mask | more), denoising_end=0.5, output_type="latent").images
    size = SIZE if start == "masked" else {}
    want = np.asarray(second(**(call | mask | size), image=latents, denoising_start=0.5).images[0])
    conditioning = Conditioning(
        None if start == "noise" else started(files, 0.9, masked=start == "masked"), refine_from=0.5
    )
    extras = ExtraOptions(refiner=str(files / "refiner"))
    assert np.array_equal(ours(demo_lzr2, extras, conditioning, steps=6), want)


def test_everything_at_once(demo_lzr2, files, whole):
    whole.load_lora_weights(str(files), weight_name="b.safetensors", adapter_name="b")
    whole.set_adapters(["b"], adapter_weights=[0.5])
    encoder = CLIPVisionModelWithProjection.from_pretrained(files / "ip" / "image_encoder").eval()
    whole.register_modules(image_encoder=encoder)
    whole.load_ip_adapter(str(files / "ip"), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None)
    whole.set_ip_adapter_scale(0.6)
    pipe = StableDiffusionXLControlNetImg2ImgPipeline.from_pipe(whole, controlnet=whole_controls(files, 1))
    pictures = {"image": opened(files / "0.png"), "control_image": opened(files / "1.png")}
    want = theirs(
        pipe,
        strength=0.8,
        controlnet_conditioning_scale=0.5,
        ip_adapter_image=opened(files / "1.png"),
        **pictures,
        **SIZE,
    )
    extras = ExtraOptions(
        controls=(str(files / "control0"),),
        loras=(LoraFile(files / "b.safetensors", 0.5),),
        ip_adapter=IpAdapterFile(files / "ip" / "ip.safetensors"),
    )
    seen = read_image(files / "1.png")
    conditioning = Conditioning(started(files, 0.8), (Hint(seen, 0.5),), Hint(seen, 0.6))
    assert np.array_equal(ours(demo_lzr2, extras, conditioning), want)


@pytest.mark.parametrize("start", ["image", "masked", "control"])
def test_half_precision(demo_lzr2, files, start):
    half = torch.float16
    whole = StableDiffusionXLPipeline.from_pretrained(str(demo_directory()), torch_dtype=half, add_watermarker=False)
    if start == "control":
        control = ControlNetModel.from_pretrained(files / "control0", torch_dtype=half).eval()
        pipe = StableDiffusionXLControlNetPipeline(**whole.components, controlnet=control, add_watermarker=False)
        arguments: dict[str, Any] = {"image": opened(files / "1.png"), "controlnet_conditioning_scale": 0.5, **SIZE}
        extras = ExtraOptions(controls=(str(files / "control0"),))
        conditioning = Conditioning(controls=(Hint(read_image(files / "1.png"), 0.5),))
    else:
        kind = StableDiffusionXLInpaintPipeline if start == "masked" else StableDiffusionXLImg2ImgPipeline
        pipe = kind(**whole.components, add_watermarker=False)
        arguments = {"image": opened(files / "0.png"), "strength": 0.8}
        if start == "masked":
            arguments |= {"mask_image": Image.open(files / "mask.png").convert("L"), **SIZE}
        extras, conditioning = ExtraOptions(), Conditioning(started(files, 0.8, masked=start == "masked"))
    assert np.array_equal(ours(demo_lzr2, extras, conditioning, half), theirs(pipe, **arguments))
