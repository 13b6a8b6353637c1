"""Names of the VAE's tensors, against diffusers' own conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

from streamer.models.demo import demo_directory
from streamer.models.vae import empty_vae
from streamer.sources.original_layout.vae import vae_place
from tests.streamer.original import original_vae

_TOOLS = Path(__file__).parents[4] / "tools"
CONFIGS = {
    "sdxl": json.loads((_TOOLS / "sdxl" / "pipeline" / "vae" / "config.json").read_text()),
    "demo": json.loads((demo_directory() / "vae" / "config.json").read_text()),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_diffusers_conversion_of_our_places_gives_the_vaes_tensors(name):
    vae = empty_vae(CONFIGS[name], name)
    levels = len(vae.config.up_block_types)
    # As small as can be, each tensor a number; attention as 1x1 convolutions.
    checkpoint, expected = {}, {}
    for i, (key, parameter) in enumerate(vae.named_parameters()):
        place = vae_place(key, levels, "first_stage_model.")
        assert place is not None
        assert place.flat == (parameter.ndim == 2)
        expected[key] = torch.full((1,) * parameter.ndim, float(i))
        checkpoint[place.key] = expected[key][:, :, None, None] if place.flat else expected[key]
    assert len(checkpoint) == len(expected)
    converted = convert_ldm_vae_checkpoint(checkpoint, vae.config)
    assert converted.keys() == expected.keys()
    assert all(converted[key].equal(tensor) for key, tensor in expected.items())


@pytest.mark.parametrize("name", CONFIGS)
def test_names_are_those_of_the_obvious_inverse(name):
    vae = empty_vae(CONFIGS[name], name)
    numbers = {key: torch.tensor(i) for i, (key, _) in enumerate(vae.named_parameters())}
    levels = len(vae.config.up_block_types)
    there = {vae_place(key, levels, "").key: int(number) for key, number in numbers.items()}
    assert there == {key: int(number) for key, number in original_vae(numbers).items()}


@pytest.mark.parametrize(
    "name", ["decoder.up_blocks.4.resnets.0.norm1.weight", "encoder.down_blocks.0.attentions.0.to_q.weight", "x", ""]
)
def test_what_the_layout_does_not_know_has_no_place(name):
    assert vae_place(name, 4, "") is None
