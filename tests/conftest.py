"""The demo's U-Net loaded whole by diffusers: what every streamed one is compared with."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# Read when torch is imported. Two threads gain nothing with a model as small as the demo, and lose a hundredfold where
# another program has one of their processors: they spin for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import torch
from diffusers import UNet2DConditionModel

from streamer.models.demo import demo_directory, demo_weights


def pytest_configure() -> None:
    """Ctrl-C is heard, also where a shell has started the tests in its background: there it would be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A first call compiles a decoder or loads a compiled one, which takes longer than hypothesis allows an example.
    hypothesis.settings.register_profile("compiles at first", deadline=None)
    hypothesis.settings.load_profile("compiles at first")


@pytest.fixture(scope="session")
def demo_lzr2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_weights(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def demo_safetensors() -> Path:
    return demo_directory() / "unet" / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="session")
def resident_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float32).eval()
