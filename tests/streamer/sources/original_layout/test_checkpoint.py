"""What a file has, seen from its keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.original_layout import other_model, part_places, unet_places, unet_prefix
from streamer.sources.place import Place
from tests.streamer.original import demo_checkpoint, demo_tensors


@pytest.fixture(scope="module")
def keys() -> list[str]:
    return list(demo_checkpoint())


def test_every_tensor_of_every_part_is_in_the_whole_file(keys):
    expected = list(demo_tensors("unet"))
    places = unet_places(keys, expected)
    assert list(places) == expected
    assert {place.key for place in places.values()} == {key for key in keys if key.startswith("model.diffusion_model.")}
    parts = part_places(keys)
    assert set(parts) == {"text_encoder", "text_encoder_2", "vae"}
    for part, place in parts.items():
        assert {place(key).key for key in demo_tensors(part)} <= set(keys)


def test_a_bare_unet_has_no_prefix_and_no_parts(keys):
    unet = [key.removeprefix("model.diffusion_model.") for key in keys if key.startswith("model.diffusion_model.")]
    assert unet_prefix(unet) == ""
    assert unet_places(unet, ["conv_in.weight"]) == {"conv_in.weight": Place("input_blocks.0.0.weight")}
    assert part_places(unet) == {}


def test_the_refiners_text_encoder_is_the_second():
    parts = part_places(
        ["model.diffusion_model.input_blocks.0.0.weight", "conditioner.embedders.0.model.ln_final.bias"]
    )
    assert set(parts) == {"text_encoder_2"}
    assert parts["text_encoder_2"]("final_layer_norm.bias").key == "conditioner.embedders.0.model.ln_final.bias"


@pytest.mark.parametrize("keys", [[], ["conv_in.weight", "first_stage_model.x"], ["cond_stage_model.a"]])
def test_without_a_unet_in_that_layout_it_is_another_file(keys):
    assert unet_prefix(keys) is None
    assert unet_places(keys, ["conv_in.weight"]) is None
    assert part_places(keys) == {}


@given(
    st.lists(st.one_of(st.text(max_size=30), st.from_regex(r"first_stage_model\.decoder\.up\.\d+\.x", fullmatch=True)))
)
def test_keys_of_any_kind_break_nothing(keys):
    keys = [*keys, "input_blocks.0.0.weight"]
    assert unet_prefix(keys) is not None
    other_model(keys)
    for place in part_places(keys).values():
        found = place("decoder.up_blocks.0.resnets.0.norm1.weight")
        assert found is None or found.key.startswith("first_stage_model.decoder.up.")
