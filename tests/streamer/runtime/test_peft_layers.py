"""What is known of peft's layers holds for the peft that is installed."""

from __future__ import annotations

import pytest
from torch import nn

from streamer.runtime.peft_layers import (
    adapters_are_fused,
    adapters_are_loaded_or_saved,
    is_merged,
    own_layers,
    wrapped_layer,
    wraps,
)
from tests.streamer.tower import Tower

peft = pytest.importorskip("peft")


def with_adapters(tower: nn.Module, *targets: str, **settings: object) -> nn.Module:
    config = peft.LoraConfig(r=2, target_modules=list(targets) or ["layers.1", "layers.4"], **settings)
    peft.inject_adapter_in_model(config, tower)
    return tower


def test_the_layer_within_is_found_whatever_is_around_it():
    tower = Tower()
    layers = list(tower.layers)
    with_adapters(tower)
    assert [wrapped_layer(layer) for layer in tower.layers] == [None, layers[1], None, None, layers[4], None]
    assert wrapped_layer(tower) is wrapped_layer(tower.layers[1].lora_A) is None
    peft.inject_adapter_in_model(peft.LoHaConfig(r=2, target_modules=["layers.1"]), tower, "another kind")
    assert wrapped_layer(tower.layers[1]) is layers[1]
    assert wraps(tower.layers[1], "base_layer")
    assert not wraps(tower.layers[1], "lora_A")
    assert not wraps(tower, "base_layer")


def test_a_layer_that_is_trained_as_a_whole_is_put_beside_the_models_own():
    tower = Tower()
    own = tower.layers[2]
    with_adapters(tower, modules_to_save=["layers.2"])
    assert wrapped_layer(tower.layers[2]) is own
    assert dict(own_layers(tower))["layers.2"] is own


def test_names_are_as_without_adapters():
    plain = [name for name, _ in Tower().named_modules()]
    assert [name for name, _ in own_layers(Tower())] == plain
    assert [name for name, _ in own_layers(with_adapters(Tower(), modules_to_save=["layers.2"]))] == plain
    assert [name for name, _ in own_layers(with_adapters(Tower()), "it")] == [
        f"it.{name}".removesuffix(".") for name in plain
    ]


def test_a_layer_that_is_there_twice_is_told_once():
    twice = nn.Sequential(shared := nn.Linear(2, 2), nn.Sequential(shared))
    assert [name for name, _ in own_layers(twice)] == ["", "0", "1"]


def test_merged_layers_are_seen_until_they_are_unmerged():
    tower = with_adapters(Tower())
    assert not any(is_merged(module) for module in tower.modules())
    tower.layers[1].merge()
    assert [module for module in tower.modules() if is_merged(module)] == [tower.layers[1]]
    tower.layers[1].unmerge()
    assert not any(is_merged(module) for module in tower.modules())


def test_who_asks_for_adapters_is_told_from_anybody_else():
    tower = with_adapters(Tower())
    asked: list[bool] = []
    tower.register_state_dict_pre_hook(lambda *_: asked.append(adapters_are_loaded_or_saved()))
    tower.state_dict()
    state = peft.get_peft_model_state_dict(tower)
    peft.set_peft_model_state_dict(tower, state)
    assert asked[:2] == [False, True]
    assert not adapters_are_loaded_or_saved()


def test_fusing_is_told_from_scaling():
    def asked() -> bool:
        return adapters_are_fused()

    def fuse_text_encoder_lora() -> bool:
        return asked()

    assert fuse_text_encoder_lora()
    assert not asked()
