"""What can't be done with a streamed module is refused with words, and all else works."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from streamer.errors import EvictedWeightsError
from streamer.runtime.guards import Guards

CPU = torch.device("cpu")


class WithAdapter(nn.Linear):
    def fuse_lora(self) -> None:
        """As diffusers' models have it."""


@pytest.fixture
def module() -> WithAdapter:
    return WithAdapter(2, 2)


def test_what_changes_nothing_is_done(module):
    Guards(module, CPU, torch.float32)
    module.register_buffer("more", torch.ones(1))
    assert module.to("cpu") is module
    assert module.to(torch.float32) is module
    assert module.float() is module


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda m: m.to(torch.float16), "dtype="),
        (lambda m: m.half(), "dtype="),
        (lambda m: m.to("meta"), "device="),
        (lambda m: m.to("meta", torch.float16), "vram_budget"),
        (copy.deepcopy, "second time"),
        (lambda m: m.fuse_lora(), "fuse_lora"),
    ],
)
def test_what_would_need_all_weights_is_refused_with_what_to_do(module, action, words):
    Guards(module, CPU, torch.float32)
    before = module.weight
    with pytest.raises(EvictedWeightsError, match=words):
        action(module)
    assert module.weight is before


def test_also_from_a_module_around_it(module):
    around = nn.Sequential(module)
    Guards(module, CPU, torch.float32)
    with pytest.raises(EvictedWeightsError):
        around.half()
    with pytest.raises(EvictedWeightsError):
        copy.deepcopy(around)


def test_a_module_that_keeps_its_type_passes_casts_over(module):
    Guards(module, CPU, torch.float32, keeps_type=True)
    module.register_parameter("other", nn.Parameter(torch.ones(1, dtype=torch.float16)))
    for cast in (module.half, module.float):
        assert cast().weight.dtype == torch.float32
        assert module.other.dtype == torch.float16
    with pytest.raises(EvictedWeightsError):
        module.to("meta")


def test_removed_it_is_as_before_and_others_of_its_class_never_changed(module):
    other = WithAdapter(2, 2)
    guards = Guards(module, CPU, torch.float32)
    other.half()
    guards.remove()
    assert copy.deepcopy(module).half().weight.dtype == torch.float16
    module.fuse_lora()


class Diffusers(WithAdapter):
    def fuse_qkv_projections(self) -> None:
        """As diffusers' models have them."""

    enable_group_offload = enable_layerwise_casting = fuse_qkv_projections


@pytest.mark.parametrize("name", ["fuse_qkv_projections", "enable_group_offload", "enable_layerwise_casting"])
def test_what_would_rewrite_weights_is_refused_where_there_is_such_a_thing(name):
    module = Diffusers(2, 2)
    guards = Guards(module, CPU, torch.float32)
    with pytest.raises(EvictedWeightsError, match=rf"Leave {name}\(\) out"):
        getattr(module, name)()
    guards.remove()
    getattr(module, name)()
