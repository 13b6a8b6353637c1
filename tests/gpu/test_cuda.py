"""On a CUDA device: the same latents as with everything loaded, within the budget. Run with  pytest -m gpu."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from streamer.config import UNLIMITED, StreamSettings
from streamer.models.demo import demo_directory
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request
from streamer.models.unet import empty_unet, stream_unet
from streamer.sources.lzr2 import Lzr2Source
from tests.picture import nearest_concept

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


def inputs() -> dict:
    random = torch.Generator().manual_seed(0)

    def half(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(CUDA, torch.float16)

    return {
        "sample": half(2, 4, 16, 16),
        "timestep": 500,
        "encoder_hidden_states": half(2, 77, 192),
        "added_cond_kwargs": {"text_embeds": half(2, 128), "time_ids": half(2, 6)},
    }


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("budget", [3_300_000, 5_000_000, UNLIMITED])
def test_bit_identical_to_the_resident_unet_within_the_budget(demo_lzr2, budget, workers):
    resident = (
        UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float16).to(CUDA).eval()
    )
    with torch.no_grad():
        want = resident(**inputs()).sample.cpu()
    del resident
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    unet = empty_unet(json.loads((demo_directory() / "unet" / "config.json").read_text()))
    settings = StreamSettings(budget, 0, workers)
    with torch.no_grad(), stream_unet(unet, Lzr2Source(demo_lzr2), settings, CUDA, torch.float16) as handle:
        held = torch.cuda.memory_allocated() - before
        assert held <= min(budget, handle.plan.total_nbytes) + 4096  # placeholders take a few bytes
        for _ in range(5):
            assert torch.equal(unet(**inputs()).sample.cpu(), want)
        assert handle.device_nbytes <= budget


def test_the_most_that_is_ever_allocated_is_the_budget_and_the_activations(demo_lzr2):
    config = json.loads((demo_directory() / "unet" / "config.json").read_text())
    peaks = []
    for budget in (UNLIMITED, 5_000_000):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        unet = empty_unet(config)
        settings = StreamSettings(budget, 0, 2)
        with torch.no_grad(), stream_unet(unet, Lzr2Source(demo_lzr2), settings, CUDA, torch.float16) as handle:
            for _ in range(3):
                unet(**inputs())
            peaks.append(torch.cuda.max_memory_allocated() - before - handle.device_nbytes)
    # What is left are the activations, which don't depend on the budget.
    assert abs(peaks[0] - peaks[1]) < 1_000_000


def test_the_same_picture_for_every_budget_and_it_shows_what_was_asked(demo_lzr2):
    request = Request("red apple", None, 0, 25, 2.5, 64, 64)
    pictures = []
    for budget in (3_300_000, UNLIMITED):
        options = PipelineOptions(weights=demo_lzr2, device="cuda", vram_budget_nbytes=budget)
        with open_pipeline(options, lambda line: None) as pipeline:
            picture = pipeline.generate(request)
            assert nearest_concept(picture) == "red apple"
            pictures.append(np.asarray(picture))
    assert np.array_equal(*pictures)
