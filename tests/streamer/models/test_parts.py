"""All parts under one budget: what is really held at one time, counted operation by operation, is within it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from streamer.config import UNLIMITED
from streamer.errors import PartBudgetError, SettingError
from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.picture_size import PictureSize
from streamer.models.pipeline import Request, StreamedPipeline
from streamer.models.vae import set_tile
from tests.streamer.models.live_memory import LiveMemory

REQUEST = Request("red apple", None, seed=3, steps=1, guidance=2.5, width=64, height=64)
LARGE = Request("red apple", None, seed=3, steps=1, guidance=2.5, width=192, height=128)
UNGUIDED = Request("star", None, seed=1, steps=1, guidance=1.0, width=64, height=64)
TILED = Request("star", None, seed=1, steps=1, guidance=1.0, width=256, height=192)  # the VAE needs most


@contextmanager
def opened(weights, budget: int, **options: object) -> Iterator[StreamedPipeline]:
    chosen = PipelineOptions(weights=weights, device="cpu", vram_budget_nbytes=budget, workers=1, **options)
    with open_pipeline(chosen, lambda line: None) as pipeline:
        yield pipeline


def smallest(weights, request: Request) -> int:
    with opened(weights, 1) as pipeline, pytest.raises(PartBudgetError) as caught:
        pipeline.prepare(request)
    return caught.value.smallest_nbytes


@pytest.mark.parametrize("request_", [REQUEST, LARGE, UNGUIDED, TILED])
@pytest.mark.parametrize("factor", [1.0, 1.8])
def test_never_more_is_held_than_the_budget_says(demo_lzr2, request_, factor):
    budget = int(smallest(demo_lzr2, request_) * factor)
    with opened(demo_lzr2, budget) as pipeline, LiveMemory() as live:
        for _ in range(2 if request_ is UNGUIDED else 1):  # the second finds the first one's parts
            pipeline.generate(request_)
    assert 0 < live.peak_nbytes <= budget


def test_the_count_sees_what_a_budget_without_end_allows(demo_lzr2):
    with opened(demo_lzr2, UNLIMITED) as pipeline, LiveMemory() as live:
        pipeline.generate(REQUEST)
        held = {part: handle.device_nbytes for part, handle in pipeline.parts.handles.items()}
        totals = {part: it.total_nbytes - it.in_memory_nbytes for part, it in pipeline.parts.handles.items()}
    assert held == totals | {"encoder": 0}  # nothing had to make room, and the encoder wasn't asked for
    assert live.peak_nbytes > sum(held.values())


def test_the_smallest_budget_works_and_a_byte_less_is_refused_at_once(demo_lzr2):
    least = smallest(demo_lzr2, REQUEST)
    with opened(demo_lzr2, least) as pipeline:
        pipeline.generate(REQUEST)
    with opened(demo_lzr2, least - 1) as pipeline, pytest.raises(PartBudgetError) as caught:
        pipeline.generate(REQUEST)
    assert caught.value.smallest_nbytes == least


def test_more_is_needed_for_larger_pictures_and_for_guidance(demo_lzr2):
    with opened(demo_lzr2, 1) as pipeline:
        needs = []
        for size in (PictureSize(64, 64, False), PictureSize(64, 64, True), PictureSize(256, 256, True)):
            with pytest.raises(PartBudgetError) as caught:
                pipeline.parts.prepare(size)
            needs.append(caught.value.smallest_nbytes)
    assert needs == sorted(set(needs))


def drawn_whole(request: Request, tile: int | None) -> np.ndarray:
    pipe = StableDiffusionXLPipeline.from_pretrained(demo_directory(), torch_dtype=torch.float32, add_watermarker=False)
    set_tile(pipe.vae, None if tile is None else tile // 4)
    return np.asarray(
        pipe(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            width=request.width,
            height=request.height,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        ).images[0]
    )


def test_a_small_budget_decodes_in_tiles_and_says_so_and_the_pixels_are_those_of_the_same_tiles(demo_lzr2):
    budget = smallest(demo_lzr2, TILED)
    with opened(demo_lzr2, budget) as pipeline:
        picture = np.asarray(pipeline.generate(TILED))
        tile = pipeline.tile_in_use
        assert tile is not None
        assert pipeline.made_with()["vae_tile"] == str(tile)
    assert np.array_equal(picture, drawn_whole(TILED, tile))
    assert not np.array_equal(picture, drawn_whole(TILED, None))


@pytest.mark.parametrize(("option", "tile"), [(0, None), (128, 128), (512, None)])
def test_a_tile_can_be_fixed(demo_lzr2, option, tile):
    with opened(demo_lzr2, UNLIMITED, vae_tile=option) as pipeline:
        picture = np.asarray(pipeline.generate(TILED))
        assert pipeline.tile_in_use == tile
        assert ("vae_tile" in pipeline.made_with()) == (tile is not None)
    assert np.array_equal(picture, drawn_whole(TILED, tile))


def test_a_fixed_tile_that_does_not_fit_is_no_reason_to_take_another(demo_lzr2):
    budget = smallest(demo_lzr2, TILED)
    with opened(demo_lzr2, budget, vae_tile=0) as pipeline, pytest.raises(PartBudgetError, match="decoder"):
        pipeline.generate(TILED)
    with opened(demo_lzr2, budget, vae_tile=100) as pipeline, pytest.raises(SettingError, match="Try 96"):
        pipeline.generate(TILED)


def test_the_plan_is_told_before_the_first_step(demo_lzr2):
    with opened(demo_lzr2, 16_000_000) as pipeline:
        pipeline.prepare(REQUEST)
        told = pipeline.handle.plan
        assert told.budget_nbytes < 16_000_000
        pipeline.generate(REQUEST)
        assert pipeline.handle.plan.resident == told.resident


def test_closed_all_are_closed(demo_lzr2):
    with opened(demo_lzr2, UNLIMITED) as pipeline:
        pipeline.generate(UNGUIDED)
        handles = pipeline.parts.handles
    assert all(handle.device_nbytes == 0 for handle in handles.values())


def test_one_that_cannot_be_closed_keeps_no_other_open(demo_lzr2, monkeypatch):
    with opened(demo_lzr2, UNLIMITED) as pipeline:
        pipeline.generate(UNGUIDED)
        handles = pipeline.parts.handles
        broken = next(iter(handles.values()))
        real = broken.close

        def fail() -> None:
            raise OSError("gone")

        monkeypatch.setattr(broken, "close", fail)
        with pytest.raises(OSError, match="gone"):
            pipeline.parts.close()
        assert [handle.is_closed for handle in handles.values()] == [
            handle is not broken for handle in handles.values()
        ]
        monkeypatch.undo()
        real()
