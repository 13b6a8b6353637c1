"""Arguments as a pipeline passes them: a U-Net takes them, and their sizes are those asked for."""

from __future__ import annotations

import json

import pytest
import torch

from streamer.errors import ModelError
from streamer.models.demo import demo_directory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.unet import empty_unet
from streamer.models.unet_inputs import StepShape, unet_inputs


@pytest.mark.parametrize("path", [demo_directory() / "unet" / "config.json", sdxl_unet_config()])
def test_the_unet_takes_them(path):
    config = json.loads(path.read_text())
    shape = StepShape(width=24, height=16, batch=2)
    with torch.no_grad():
        result = empty_unet(config)(**unet_inputs(config, torch.float32, shape)).sample
    assert result.shape == (2, config["out_channels"], 16, 24)


@pytest.mark.parametrize(
    "odd",
    [
        {"addition_time_embed_dim": None, "projection_class_embeddings_input_dim": None},
        {"projection_class_embeddings_input_dim": 7},
        {"addition_time_embed_dim": "256"},
    ],
)
def test_another_kind_of_unet_is_refused_in_words(odd):
    config = json.loads((demo_directory() / "unet" / "config.json").read_text()) | odd
    with pytest.raises(ModelError, match="Stable Diffusion XL"):
        unet_inputs(config, torch.float32, StepShape(24, 16, 1))
