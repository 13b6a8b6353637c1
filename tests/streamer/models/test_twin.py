"""Copies that have shapes, no memory, and the module's present ways."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import nn

from streamer.config import StreamSettings
from streamer.models.twin import structure, twin_of
from streamer.models.unet_inputs import StepShape, unet_inputs
from tests.streamer.tower import Tower, stream_tower


def test_shapes_types_and_names_are_the_modules_and_there_is_no_memory():
    module = nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 2, dtype=torch.float16)).eval()
    twin = twin_of(module)
    for mine, its in ((twin.state_dict(), module.state_dict()),):
        assert {key: (t.shape, t.dtype) for key, t in mine.items()} == {k: (t.shape, t.dtype) for k, t in its.items()}
        assert all(tensor.is_meta for tensor in mine.values())
    assert not any(each.training for each in twin.modules())
    assert isinstance(twin[0], nn.Linear)
    assert module[0].weight.isfinite().all()


def test_of_a_streamed_module_neither_hooks_nor_guards_are_copied():
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(4096, 0, 0))
    with handle:
        twin, before = twin_of(tower), len(source.reads)
        assert twin(torch.empty(2, 16, device="meta")).shape == (2, 16)
        assert len(source.reads) == before  # the engine wasn't asked
        assert copy.deepcopy(twin).state_dict().keys() == twin.state_dict().keys()


def test_a_forward_that_was_put_onto_an_instance_is_left_out():
    module = nn.Linear(3, 2)
    module.forward = lambda x: (_ for _ in ()).throw(AssertionError("the module itself was run"))
    assert twin_of(module)(torch.empty(1, 3, device="meta")).shape == (1, 2)


def test_a_module_in_two_places_is_one_in_the_copy_too():
    shared = nn.Linear(2, 2)
    twin = twin_of(nn.ModuleList([shared, nn.Sequential(shared)]))
    assert twin[0] is twin[1][0]


def test_the_structure_changes_with_what_computes_and_not_with_what_is_computed():
    module = nn.Sequential(Attention(8, heads=1, dim_head=8))
    seen = [structure(module)]
    module(torch.zeros(1, 2, 8))
    assert structure(module) == seen[0]
    for change in (
        lambda: module[0].set_processor(AttnProcessor()),
        lambda: setattr(module[0], "to_q", nn.Linear(8, 8)),
        lambda: module[0].add_module("more", nn.Linear(1, 1)),
        lambda: delattr(module[0], "more"),
    ):
        change()
        seen.append(structure(module))
        assert seen[-1] != seen[-2]


@pytest.fixture
def unet(resident_unet: UNet2DConditionModel) -> UNet2DConditionModel:
    peft = pytest.importorskip("peft")
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
