"""The twin gives shapes as the module gives values, and nothing that is done with it is seen in the module."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel

from streamer.models.twin import twin_of
from streamer.models.unet_inputs import StepShape, unet_inputs

peft = pytest.importorskip("peft")


@pytest.fixture
def unet(resident_unet: UNet2DConditionModel) -> UNet2DConditionModel:
    torch.manual_seed(0)
    with_adapter = copy.deepcopy(resident_unet)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "conv1", "conv_in"], init_lora_weights=False, use_dora=True)
    with_adapter.add_adapter(config)
    return with_adapter


def test_it_has_the_same_parts_without_memory(unet):
    unet.register_buffer("count", torch.zeros(3))
    twin = twin_of(unet)
    assert type(twin) is UNet2DConditionModel
    assert [(name, type(module)) for name, module in twin.named_modules()] == [
        (name, type(module)) for name, module in unet.named_modules()
    ]
    for mine, theirs in ((twin.parameters(), unet.parameters()), (twin.buffers(), unet.buffers())):
        pairs = list(zip(mine, theirs, strict=True))
        assert all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)
        assert all(a.is_meta and not b.is_meta for a, b in pairs)
    assert not twin.training


def test_it_runs_and_the_module_is_as_before(unet):
    calls = []
    unet.register_forward_hook(lambda *_: calls.append("hook"))
    unet.forward = lambda *_: calls.append("forward")
    inputs = unet_inputs(unet.config, torch.float32, StepShape(8, 16, 2))
    before = copy.deepcopy(unet.conv_in.scaling)
    twin = twin_of(unet)
    with torch.no_grad():
        made = twin(**inputs, cross_attention_kwargs={"scale": 0.3}).sample
        twin.conv_in.set_scale("default", 7.0)
    assert made.is_meta
    assert made.shape == inputs["sample"].shape
    assert calls == []
    assert unet.conv_in.scaling == before
    assert all(parameter.isfinite().all() for parameter in unet.parameters())


def test_what_is_there_twice_is_one_in_the_twin():
    shared = torch.nn.Linear(2, 2)
    twin = twin_of(torch.nn.Sequential(shared, torch.nn.Sequential(shared)))
    assert twin[0] is twin[1][0]
