"""diffusers programs with one line changed: every picture equals that of the same pipeline loaded whole."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file

import streamer
from streamer.errors import BudgetError, EvictedWeightsError, WeightsMismatchError
from tests.streamer.models.pairs import BUDGET, DEMO, MASK, PICTURE, SIZE, images, quiet, same, whole_pipeline
from tests.streamer.tower import Tower, prefetch_threads


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"prompt": ["sun", "star"]},
        {"guidance_scale": 1.0},
        {"negative_prompt": "red", "guidance_rescale": 0.5},
        {"num_images_per_prompt": 2},
        {"width": 96},
        {"clip_skip": 1},
        {"denoising_end": 0.5, "num_inference_steps": 4},
        {"original_size": (32, 32), "target_size": (128, 128)},
    ],
    ids=str,
)
def test_text_to_image(pipe, whole, arguments):
    assert same(pipe, whole, **(SIZE | arguments))


def test_prompt_embeddings_passed_in_and_callbacks_and_interrupting(pipe, whole):
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    embeddings = dict(zip(names, whole.encode_prompt("key", device="cpu"), strict=True))
    assert same(pipe, whole, prompt=None, **embeddings, **SIZE)

    def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step == 0
        return tensors

    assert same(pipe, whole, callback_on_step_end=stop, num_inference_steps=4, **SIZE)
    assert same(pipe, whole, **SIZE)


def test_image_to_image_and_inpainting_of_the_same_parts(pipe, whole):
    for kind, arguments in (
        (StableDiffusionXLImg2ImgPipeline, {"image": PICTURE, "strength": 0.7}),
        (StableDiffusionXLInpaintPipeline, {"image": PICTURE, "mask_image": MASK, "strength": 0.9, **SIZE}),
    ):
        one, other = quiet(kind.from_pipe(pipe)), quiet(kind.from_pipe(whole))
        assert one.unet is pipe.unet
        assert same(one, other, num_inference_steps=4, **arguments)


def test_switches_of_the_pipeline(pipe, whole):
    for on, off in (
        (lambda p: p.enable_freeu(s1=0.9, s2=0.2, b1=1.3, b2=1.4), lambda p: p.disable_freeu()),
        (lambda p: p.enable_attention_slicing(), lambda p: p.disable_attention_slicing()),
        (lambda p: p.vae.enable_slicing(), lambda p: p.vae.disable_slicing()),
    ):
        for each in (pipe, whole):
            on(each)
        assert same(pipe, whole, **SIZE)
        for each in (pipe, whole):
            off(each)
    assert same(pipe, whole, **SIZE)


def test_a_controlnet_from_memory_and_one_that_streams(pipe, whole, tmp_path, demo_lzr2):
    torch.manual_seed(0)
    control = ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32, 96)).eval()
    with torch.no_grad():
        for parameter in control.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    streamed = copy.deepcopy(control)
    save_file(control.state_dict(), tmp_path / "control.safetensors")
    reference = quiet(StableDiffusionXLControlNetPipeline.from_pipe(whole, controlnet=control))
    ours = quiet(StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=control))
    arguments = {"image": PICTURE, **SIZE}
    want = images(reference, **arguments)
    assert np.array_equal(images(ours, **arguments), want)
    with streamer.attach(streamed, tmp_path / "control.safetensors", vram_budget="8MB", device="cpu") as handle:
        both = quiet(StableDiffusionXLControlNetPipeline.from_pipe(pipe, controlnet=streamed))
        for _ in range(2):
            assert np.array_equal(images(both, **arguments), want)
        assert handle.device_nbytes <= 8_000_000
        assert handle.plan.streamed_nbytes > 0


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision(demo_lzr2, precision):
    ours = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu", dtype=precision))
    theirs = whole_pipeline(precision)
    assert same(ours, theirs, **SIZE)
    ours.streaming.close()


def test_a_unet_in_a_pipeline_of_the_programs_own(demo_lzr2, whole):
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    assert isinstance(unet, UNet2DConditionModel)
    theirs = quiet(
        StableDiffusionXLPipeline.from_pretrained(DEMO, unet=unet, torch_dtype=torch.float32, add_watermarker=False)
    )
    assert same(theirs, whole, **SIZE)
    unet.streaming.budget = "20MB"
    assert same(theirs, whole, **SIZE)
    assert 9_000_000 < unet.streaming.device_nbytes <= 20_000_000
    with pytest.raises(BudgetError):
        unet.streaming.budget = 1000
    unet.streaming.close()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda p: p.to(torch.float16), "dtype="),
        (lambda p: p.to("meta"), "vram_budget"),
        (lambda p: p.unet.state_dict(), "lzr2.open"),
        (lambda p: p.unet.save_pretrained("never"), "lzr2.open"),
        (lambda p: copy.deepcopy(p.unet), "second time"),
        (lambda p: p.fuse_lora(), "fuse_lora"),
    ],
)
def test_what_cannot_work_says_so_and_changes_nothing(pipe, whole, action, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvictedWeightsError, match=words):
        action(pipe)
    assert pipe.to("cpu") is pipe
    assert pipe.to(torch.float32) is pipe
    assert same(pipe, whole, num_inference_steps=1, **SIZE)


def test_detached_it_is_an_ordinary_module_again(demo_lzr2, resident_unet):
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    before = len(prefetch_threads())
    unet.streaming.detach()
    assert len(prefetch_threads()) < before
    mine, theirs = unet.state_dict(), resident_unet.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    copy.deepcopy(unet).half()


def test_a_forgotten_unet_takes_its_threads_along(demo_lzr2):
    gc.collect()
    before = len(prefetch_threads())
    unet = streamer.load_unet(demo_lzr2, vram_budget="9MB", device="cpu")
    assert len(prefetch_threads()) > before
    there = weakref.ref(unet)
    del unet
    gc.collect()
    assert there() is None
    assert len(prefetch_threads()) == before


def test_any_module_can_be_attached_and_what_does_not_fit_is_named(tmp_path):
    torch.manual_seed(0)
    tower, x = Tower(), torch.randn(2, 16)
    path = tmp_path / "tower.safetensors"
    save_file({key: tensor.clone() for key, tensor in tower.state_dict().items()}, path)
    with torch.no_grad():
        want = tower(x)
    with streamer.attach(copy.deepcopy(tower), [path], device="cpu") as handle:
        assert handle.plan.total_nbytes > 0
    streamed = copy.deepcopy(tower)
    with streamer.attach(streamed, str(path), device="cpu", threads=0):
        assert torch.equal(streamed(x), want)
    with pytest.raises(WeightsMismatchError):
        streamer.attach(Tower(layers=7), path, device="cpu")


def test_the_names_of_the_package_are_few_and_others_are_errors():
    assert all(getattr(streamer, name) is not None for name in streamer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = streamer.nothing
