"""The demo as a stock pipeline, and as a streamed one whose U-Net doesn't fit into its budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

import streamer
from tests.streamer.models.drawing_alike import BUDGET, DEMO, quiet


@pytest.fixture(scope="session")
def stock() -> Any:
    return quiet(StableDiffusionXLPipeline.from_pretrained(DEMO, torch_dtype=torch.float32, add_watermarker=False))


@pytest.fixture(scope="module")  # not longer: other tests count threads
def streamed(demo_lzr2) -> Iterator[Any]:
    pipe = quiet(streamer.load_pipeline(weights=demo_lzr2, vram_budget=BUDGET, device="cpu"))
    yield pipe
    pipe.streaming.close()
