"""Names and values of the text encoders' tensors, against diffusers' own conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint

from streamer.models.text_encoder import empty_text_encoder
from streamer.sources.original_layout.text_encoders import clip_place, open_clip_place
from streamer.sources.placed import PlacedSource
from tests.streamer.original import CLIP, OPEN_CLIP, original_open_clip, prefixed
from tests.streamer.tower import MemorySource

_PIPELINE = Path(__file__).parents[4] / "tools" / "sdxl" / "pipeline"
SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 9, "projection_dim": 8}
KINDS = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}


def encoder_of_sdxl(part: str):
    """As many layers as SDXL's, each as small as can be."""
    config = json.loads((_PIPELINE / part / "config.json").read_text())
    return empty_text_encoder(KINDS[part], config | SMALL, part)


def tensors_of(part: str) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    shapes = {
        f"text_model.{key.removeprefix('text_model.')}" if not key.startswith("text_projection") else key: value.shape
        for key, value in encoder_of_sdxl(part).named_parameters()
    }
    return {key: torch.rand(shape, generator=random) for key, shape in shapes.items()}


@pytest.mark.parametrize("stripped", [True, False])
def test_the_first_encoders_keys_are_those_of_the_library(stripped):
    tensors = tensors_of("text_encoder")
    converted = convert_ldm_clip_checkpoint(prefixed(CLIP, tensors))
    for key in tensors:
        place = clip_place(key.removeprefix("text_model.") if stripped else key, CLIP)
        assert place.whole
        assert place.key == CLIP + key
        assert converted[key].equal(tensors[key])


@pytest.mark.parametrize("stripped", [True, False])
def test_the_second_encoders_tensors_are_those_of_diffusers_conversion(stripped):
    tensors = tensors_of("text_encoder_2")
    assert len([key for key in tensors if ".q_proj.weight" in key]) == 32
    checkpoint = prefixed(OPEN_CLIP, original_open_clip(tensors))
    converted = convert_open_clip_checkpoint(encoder_of_sdxl("text_encoder_2"), dict(checkpoint), OPEN_CLIP)
    names = {key: key.removeprefix("text_model.") if stripped else key for key in tensors}
    places = {key: open_clip_place(name, OPEN_CLIP) for key, name in names.items()}
    assert all(place is not None for place in places.values())
    source = PlacedSource(MemorySource(checkpoint), places)
    assert set(source.keys()) == set(tensors) == set(converted)
    for key, expected in tensors.items():
        out = torch.full(expected.shape, torch.nan)
        source.read_into(key, out)
        assert out.equal(expected)
        assert out.equal(converted[key])


@pytest.mark.parametrize(
    "name", ["encoder.layers.0.mlp.fc3.weight", "encoder.layers.x.layer_norm1.weight", "logit", ""]
)
def test_what_the_layout_does_not_know_has_no_place(name):
    assert open_clip_place(name, OPEN_CLIP) is None
