"""The demo pipeline: what is drawn equals the same pipeline loaded whole, byte for byte, whatever the settings."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler, StableDiffusionXLPipeline
from safetensors.numpy import load_file, save_file

from streamer.config import UNLIMITED, parse_size
from streamer.errors import ModelError, NoPictureError, PartBudgetError, SettingError
from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request

REQUEST = Request("red apple", None, seed=3, steps=4, guidance=2.5, width=64, height=64)
SMALLEST = 10_259_887  # with oneDNN
VARIANTS = [
    *itertools.product([SMALLEST, UNLIMITED], [0, 2], ["mmap", "pread"], [0, UNLIMITED]),
    *itertools.product([parse_size("16MB")], [1], ["mmap", "pread"], [0, UNLIMITED]),
]


@pytest.fixture(scope="module")
def whole() -> StableDiffusionXLPipeline:
    pipe = StableDiffusionXLPipeline.from_pretrained(demo_directory(), torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn_whole(pipe: StableDiffusionXLPipeline, request: Request) -> np.ndarray:
    """By the plain pipeline, without anything of this package."""
    image = pipe(
        request.prompt,
        negative_prompt=request.negative,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        width=request.width,
        height=request.height,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]
    return np.asarray(image)


def drawn(request: Request, **options: object) -> np.ndarray:
    with open_pipeline(PipelineOptions(device="cpu", **options), lambda line: None) as pipeline:
        return np.asarray(pipeline.generate(request))


@pytest.mark.parametrize(("vram", "workers", "io", "ram"), VARIANTS)
def test_same_pixels_for_every_setting_as_loaded_whole(whole, demo_lzr2, vram, workers, io, ram):
    picture = drawn(
        REQUEST,
        weights=demo_lzr2,
        vram_budget_nbytes=vram,
        ram_budget_nbytes=ram,
        workers=workers,
        io=io,
    )
    assert np.array_equal(picture, drawn_whole(whole, REQUEST))


@pytest.mark.parametrize(
    "request_",
    [
        Request("blue heart", "red", seed=1, steps=3, guidance=3.0, width=64, height=64),
        Request("star", None, seed=2, steps=3, guidance=0.0, width=64, height=64),
        Request("sun", None, seed=(1 << 63) - 1, steps=2, guidance=1.5, width=72, height=128),
    ],
)
def test_same_pixels_for_other_requests(whole, demo_lzr2, request_):
    assert np.array_equal(drawn(request_, weights=demo_lzr2), drawn_whole(whole, request_))


def test_from_safetensors_too_and_from_the_models_own_unet(whole, demo_safetensors):
    want = drawn_whole(whole, REQUEST)
    assert np.array_equal(drawn(REQUEST, weights=demo_safetensors), want)
    assert np.array_equal(drawn(REQUEST, model=str(demo_directory())), want)


def test_one_pipeline_draws_one_picture_after_the_other(whole, demo_lzr2):
    other = Request("key", None, seed=9, steps=2, guidance=2.0, width=64, height=64)
    options = PipelineOptions(weights=demo_lzr2, device="cpu", vram_budget_nbytes=SMALLEST)
    with open_pipeline(options, lambda line: None) as pipeline:
        for request in (REQUEST, other, REQUEST):
            assert np.array_equal(np.asarray(pipeline.generate(request)), drawn_whole(whole, request))


def test_a_scheduler_by_name_is_used(demo_lzr2):
    assert not np.array_equal(drawn(REQUEST, weights=demo_lzr2, scheduler="ddim"), drawn(REQUEST, weights=demo_lzr2))


def test_the_models_own_unet_is_not_read_when_weights_are_given(demo_lzr2, tmp_path):
    for path in demo_directory().rglob("*"):
        if path.is_file() and not (path.parent.name == "unet" and path.suffix == ".safetensors"):
            target = tmp_path / path.relative_to(demo_directory())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    assert drawn(REQUEST, weights=demo_lzr2, model=str(tmp_path)).shape == (64, 64, 3)


def test_steps_are_told_as_they_end(demo_lzr2):
    steps: list[tuple[int, int]] = []
    with open_pipeline(PipelineOptions(weights=demo_lzr2, device="cpu"), lambda line: None) as pipeline:
        pipeline.generate(REQUEST, lambda *step: steps.append(step))
        assert pipeline.device_peak_nbytes() is None
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_scheduler_that_takes_more_steps_says_so(demo_lzr2):
    steps: list[tuple[int, int]] = []
    options = PipelineOptions(weights=demo_lzr2, device="cpu", scheduler="heun")
    with open_pipeline(options, lambda line: None) as pipeline:
        pipeline.generate(REQUEST, lambda *step: steps.append(step))
    assert steps == [(i, 7) for i in range(1, 8)]


def test_a_scheduler_that_cannot_make_so_few_steps_is_told(demo_lzr2):
    with open_pipeline(PipelineOptions(weights=demo_lzr2, device="cpu"), lambda line: None) as pipeline:
        pipeline.pipe.scheduler = PNDMScheduler(skip_prk_steps=False)
        with pytest.raises(SettingError, match="PNDMScheduler can't make 2 steps"):
            pipeline.generate(replace(REQUEST, steps=2))


def test_weights_that_are_no_numbers_are_an_error_and_no_black_picture(tmp_path):
    tensors = load_file(demo_directory() / "unet" / "diffusion_pytorch_model.safetensors")
    tensors["conv_out.bias"][:] = np.nan
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(NoPictureError, match=r"w\.safetensors"):
        drawn(replace(REQUEST, steps=1), weights=tmp_path / "w.safetensors")


def test_the_smallest_budget_is_named_before_anything_is_computed(demo_lzr2):
    options = PipelineOptions(weights=demo_lzr2, device="cpu", vram_budget_nbytes=SMALLEST - 1)
    with open_pipeline(options, lambda line: None) as pipeline:
        with pytest.raises(PartBudgetError, match=r"10\.26MB") as caught:
            pipeline.generate(REQUEST)
        assert caught.value.smallest_nbytes == SMALLEST
        assert caught.value.part == "the U-Net"
        assert all(handle.stats.totals.steps == 0 for handle in pipeline.parts.handles.values())


def test_a_part_that_is_missing_is_named(demo_lzr2, tmp_path: Path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text((demo_directory() / "model_index.json").read_text())
    (tmp_path / "unet" / "config.json").write_text((demo_directory() / "unet" / "config.json").read_text())
    with pytest.raises(ModelError, match="vae"):
        open_pipeline(PipelineOptions(weights=demo_lzr2, model=str(tmp_path)), lambda line: None)


@pytest.mark.parametrize(
    "change",
    [{"width": 65}, {"height": 0}, {"steps": 0}, {"steps": 1001}, {"guidance": -1.0}, {"seed": -1}, {"width": 1 << 20}],
)
def test_a_request_that_makes_no_sense_is_refused(change):
    fields = {"prompt": "x", "negative": None, "seed": 0, "steps": 1, "guidance": 1.0, "width": 64, "height": 64}
    with pytest.raises(SettingError):
        Request(**(fields | change))
