"""What can't be done with a streamed module is refused with words, and all else works."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import EvictedWeightsError
from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.guards import Guards
from streamer.runtime.in_memory import InMemory
from tests.streamer.tower import Tower, stream_tower

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


class Convolved(Tower):
    """With a weight that has a memory format."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.conv = kind(3, 4, 2)

    def blocks(self) -> list[ModuleBlock]:
        places = tuple(ParameterPlace(f"conv.{each}", self.conv, each) for each in ("weight", "bias"))
        return [*super().blocks(), ModuleBlock("conv", self.conv, places)]


def held(tower: nn.Module) -> list[tuple[int, tuple[int, ...]]]:
    return [(parameter.data_ptr(), parameter.stride()) for parameter in tower.parameters()]


@pytest.mark.parametrize("budget", [4096, UNLIMITED])
@pytest.mark.parametrize(("kind", "wanted"), [(nn.Conv2d, torch.channels_last), (nn.Conv3d, torch.channels_last_3d)])
def test_another_memory_format_is_refused_with_what_to_do_and_nothing_has_changed(budget, kind, wanted):
    tower = Convolved(kind)
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, 0))
    with handle:
        want = tower(torch.ones(1, 16))
        before = held(tower)
        for module in (tower, nn.Sequential(tower)):
            with pytest.raises(EvictedWeightsError, match="Leave memory_format"):
                module.to(memory_format=wanted)
        assert held(tower) == before
        assert torch.equal(tower(torch.ones(1, 16)), want)


def test_where_no_weight_has_a_memory_format_it_may_be_asked_for(module):
    Guards(module, CPU, torch.float32)
    assert module.to(memory_format=torch.channels_last) is module


@pytest.mark.parametrize(
    "action", [lambda m: m.to(memory_format=torch.contiguous_format), lambda m: m.to_empty(device="cpu")]
)
def test_what_is_done_is_done_to_adapters_and_not_to_streamed_weights(action):
    tower = Convolved(nn.Conv2d)
    own = list(tower.parameters())
    in_memory = InMemory(tower, tower.blocks())
    own[-2].data = torch.zeros(()).expand(own[-2].shape)  # as what stands for it
    tower.conv.adapter = nn.Conv2d(3, 4, 2)
    tower.conv.adapter.weight.data = torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last)
    before, adapter = [(p.data_ptr(), p.stride()) for p in own], tower.conv.adapter.weight.data_ptr()
    Guards(tower, CPU, torch.float32, in_memory=in_memory)
    assert action(tower) is tower
    assert [(p.data_ptr(), p.stride()) for p in own] == before
    assert tower.conv.adapter.weight.data_ptr() != adapter


def test_an_adapter_of_another_type_is_cast_with_the_module_that_has_that_type_already():
    tower = Tower()
    in_memory = InMemory(tower, tower.blocks())
    tower.adapter = nn.Linear(2, 2).half()
    Guards(tower, CPU, torch.float32, in_memory=in_memory)
    tower.float()
    assert tower.adapter.weight.dtype == torch.float32


@pytest.mark.parametrize("budget", [4096, UNLIMITED])
def test_what_stands_for_weights_gets_no_memory(budget):
    tower = Convolved(nn.Conv2d)
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, 0))
    with handle:
        want = tower(torch.ones(1, 16))
        before = held(tower)
        tower.to(memory_format=torch.contiguous_format)
        tower.to_empty(device="cpu")
        assert held(tower) == before
        assert torch.equal(tower(torch.ones(1, 16)), want)


def test_of_a_module_that_streams_adapters_are_cast_and_weights_are_not_touched():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(4096, 0, 0))
    with handle:
        tower.adapter = nn.Linear(2, 2).half()
        before = held(tower)[:-2]
        tower.to("cpu", torch.float32)
        assert tower.adapter.weight.dtype == torch.float32
        assert held(tower)[:-2] == before


def test_a_module_that_keeps_its_type_passes_casts_over(module):
    Guards(module, CPU, torch.float32, keeps_type=True)
    module.register_parameter("other", nn.Parameter(torch.ones(1, dtype=torch.float16)))
    for cast in (module.half, module.float):
        assert cast().weight.dtype == torch.float32
        assert module.other.dtype == torch.float16
    before = held(module)
    for wanted in (torch.channels_last, torch.channels_last_3d):
        assert module.to(memory_format=wanted) is module
    assert held(module) == before
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
