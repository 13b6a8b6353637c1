"""The demo's U-Net loaded whole by diffusers: what every streamed one is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from streamer.models.demo import demo_directory, demo_weights


@pytest.fixture(scope="session")
def demo_lzr2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_weights(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def demo_safetensors() -> Path:
    return demo_directory() / "unet" / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="session")
def resident_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(demo_directory() / "unet", torch_dtype=torch.float32).eval()
