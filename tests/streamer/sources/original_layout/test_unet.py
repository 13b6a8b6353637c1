"""Names of the U-Net's tensors, against diffusers' own conversion."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from streamer.models.demo import demo_directory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.unet import empty_unet, expected_tensors
from streamer.sources.original_layout.unet import unet_names
from tests.streamer.original import original_unet

SDXL = json.loads(sdxl_unet_config().read_text())
DEMO = json.loads((demo_directory() / "unet" / "config.json").read_text())
REFINER = SDXL | {
    "block_out_channels": [384, 768, 1536, 1536],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [6, 12, 24, 24],
    "transformer_layers_per_block": 4,
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
DEEP = DEMO | {"layers_per_block": 3, "transformer_layers_per_block": [1, 2, 11]}
FLAT = DEMO | {
    "block_out_channels": [48],
    "down_block_types": ["CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D"],
    "transformer_layers_per_block": [1],
    "attention_head_dim": [1],
}
CONFIGS = {"sdxl": SDXL, "refiner": REFINER, "demo": DEMO, "deep": DEEP, "flat": FLAT}


@pytest.mark.parametrize("name", CONFIGS)
def test_diffusers_conversion_of_our_names_gives_the_models_keys(name):
    config = CONFIGS[name]
    keys = list(expected_tensors(empty_unet(config)))
    names = unet_names(keys)
    assert list(names) == keys
    assert len(set(names.values())) == len(keys)
    # Each tensor is its own number, so that the conversion says which one it puts where.
    numbers = {f"model.diffusion_model.{there}": torch.tensor(i) for i, there in enumerate(names.values())}
    converted = convert_ldm_unet_checkpoint(numbers, config)
    assert {key: int(number) for key, number in converted.items()} == {key: i for i, key in enumerate(keys)}


@pytest.mark.parametrize("name", CONFIGS)
def test_names_are_those_of_the_obvious_inverse(name):
    keys = list(expected_tensors(empty_unet(CONFIGS[name])))
    numbers = {key: torch.tensor(i) for i, key in enumerate(keys)}
    original = original_unet(numbers, CONFIGS[name]["layers_per_block"])
    assert {there: int(numbers[key]) for key, there in unet_names(keys).items()} == {
        there: int(number) for there, number in original.items()
    }


def test_names_of_the_real_file():
    names = unet_names(list(expected_tensors(empty_unet(SDXL))))
    assert len(names) == 1680
    assert names["down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0.bias"] == (
        "input_blocks.8.1.transformer_blocks.9.attn2.to_out.0.bias"
    )
    assert names["up_blocks.0.upsamplers.0.conv.weight"] == "output_blocks.2.2.conv.weight"
    assert names["down_blocks.1.downsamplers.0.conv.bias"] == "input_blocks.6.0.op.bias"
    assert names["up_blocks.2.resnets.2.conv_shortcut.weight"] == "output_blocks.8.0.skip_connection.weight"


@pytest.mark.parametrize(
    "key",
    [
        "class_embedding.weight",
        "down_blocks.0.resnets.0.norm9.weight",
        "down_blocks.0.motion_modules.0.norm.weight",
        "up_blocks.0.upsamplers.1.conv.weight",
        "up_blocks.0.upsamplers.0.norm.weight",
        "mid_block.resnets.0.other.weight",
        "conv_in",
        "",
    ],
)
def test_what_the_layout_does_not_know_has_no_name(key):
    assert unet_names([key, "conv_in.weight"]) == {"conv_in.weight": "input_blocks.0.0.weight"}
