"""Weights that aren't in memory are given truly or not at all."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import EvictedWeightsError
from tests.streamer.tower import Tower, stream_tower


class Saver(Tower):
    """Saves as diffusers' models do: asks for a state dict, then takes the tensors one after the other."""

    def save_pretrained(self, kept: dict[str, Any], max_shard_size: str = "10GB", fails: bool = False) -> str:
        state = self.state_dict()
        if fails:
            raise OSError("disk full")
        kept |= {key: (tensor.shape, tensor.dtype, tensor.contiguous()) for key, tensor in state.items()}
        return max_shard_size


class GivenSaver(Tower):
    """Saves as transformers' models do: what it is given."""

    def save_pretrained(self, state_dict: dict[str, Any] | None = None, max_shard_size: str = "5GB") -> Any:
        return state_dict


def test_placeholders_are_never_handed_out_as_a_state_dict():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings())
    with handle, pytest.raises(EvictedWeightsError, match=r"lzr2\.open"):
        tower.state_dict()


def test_a_part_that_somebody_keeps_keeps_nothing_else():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings())
    part, there = tower.layers[2], weakref.ref(tower)
    del tower, handle
    gc.collect()
    assert there() is None
    with pytest.raises(EvictedWeightsError, match="isn't there any more"):
        part.state_dict()


def test_a_part_can_be_copied_once_it_was_released():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings())
    with handle:
        with pytest.raises(EvictedWeightsError, match="release"):
            copy.deepcopy(tower.layers[2])
        want = handle._source.tensors["layers.2.weight"]
        handle.release(tower.layers[2])
        assert torch.equal(copy.deepcopy(tower.layers[2]).weight, want)


@pytest.mark.parametrize("pick", [lambda t: t.layers, lambda t: t.layers[2], lambda t: torch.nn.Sequential(t)])
@pytest.mark.parametrize("budget", [4096, UNLIMITED])
def test_nor_as_that_of_a_part_or_of_a_larger_module(pick, budget):
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(budget))
    with handle:
        tower(torch.ones(1, 16))
        with pytest.raises(EvictedWeightsError, match=r"lzr2\.open"):
            pick(tower).state_dict()


def test_of_a_part_that_was_released_or_put_in_there_is_a_state_dict():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings())
    with handle:
        want = handle._source.tensors["layers.2.weight"]
        handle.release(tower.layers[2])
        assert torch.equal(tower.layers[2].state_dict()["weight"], want)
        tower.layers[2].load_state_dict({"weight": want + 1, "bias": want[0]})
        assert torch.equal(tower.layers[2].weight, want + 1)
        tower.layers[3].adapter = torch.nn.Linear(2, 2)
        assert tower.layers[3].adapter.state_dict().keys() == {"weight", "bias"}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("budget", [4096, UNLIMITED])
@pytest.mark.parametrize(
    ("pick", "prefix"), [(lambda t: t, ""), (lambda t: t.layers, "layers."), (lambda t: torch.nn.Sequential(t), "0.")]
)
def test_streamed_weights_cannot_be_replaced_and_nothing_is(pick, prefix, budget, assign):
    tower = Tower()
    other = {key: torch.ones_like(tensor) for key, tensor in tower.state_dict().items()}
    if prefix == "layers.":
        other = {key.removeprefix(prefix): tensor for key, tensor in other.items() if key.startswith(prefix)}
    else:
        other = {prefix + key: tensor for key, tensor in other.items()}
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, 0))
    x = torch.ones(1, 16)
    with handle:
        want = tower(x)
        before = [parameter.data_ptr() for parameter in tower.parameters()]
        for strict in (True, False):
            with pytest.raises(EvictedWeightsError, match=r"detach\(\)"):
                pick(tower).load_state_dict(other, strict=strict, assign=assign)
        assert [parameter.data_ptr() for parameter in tower.parameters()] == before
        assert torch.equal(tower(x), want)


def test_what_else_is_given_with_streamed_weights_is_not_loaded_either():
    tower = Tower()
    tower.register_buffer("count", torch.zeros(1))
    handle, _ = stream_tower(tower, StreamSettings())
    with handle:
        with pytest.raises(EvictedWeightsError):
            tower.load_state_dict({"count": torch.ones(1), "layers.5.bias": torch.ones(16)}, strict=False)
        assert tower.count == 0


def test_adapters_are_loaded_and_names_are_those_with_them():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings())
    with handle:
        tower.layers[0] = torch.nn.Sequential(tower.layers[0], torch.nn.Linear(16, 16))
        tower.load_state_dict({"layers.0.1.weight": torch.ones(16, 16)}, strict=False)
        assert torch.equal(tower.layers[0][1].weight, torch.ones(16, 16))
        with pytest.raises(EvictedWeightsError, match=r"layers\.0\.0\.bias"):
            tower.load_state_dict({"layers.0.0.bias": torch.ones(16)}, strict=False)


def test_saved_are_the_values_of_the_source_one_at_a_time_and_in_small_shards():
    tower = Saver()
    whole = {key: tensor.clone() for key, tensor in tower.state_dict().items()}
    handle, source = stream_tower(tower, StreamSettings(4096))
    kept: dict[str, Any] = {}
    with handle:
        assert tower.save_pretrained(kept) == "1GB"
        assert kept.keys() == whole.keys()
        for key, (shape, dtype, values) in kept.items():
            assert (shape, dtype) == (whole[key].shape, whole[key].dtype)
            assert torch.equal(values, whole[key])
        assert tower.save_pretrained(kept, max_shard_size="2GB") == "2GB"
        with pytest.raises(EvictedWeightsError):
            tower.state_dict()
    assert set(source.reads) >= whole.keys()


def test_a_state_dict_that_is_handed_over_has_the_values():
    tower = GivenSaver()
    whole = {key: tensor.clone() for key, tensor in tower.state_dict().items()}
    handle, _ = stream_tower(tower, StreamSettings(4096))
    with handle:
        given = tower.save_pretrained()
        assert given.keys() == whole.keys()
        assert all(torch.equal(given[key], whole[key]) for key in whole)
        own = {"a": torch.zeros(1)}
        assert tower.save_pretrained(state_dict=own) is own


def test_a_failed_save_leaves_the_state_dict_refused():
    tower = Saver()
    handle, _ = stream_tower(tower, StreamSettings(4096))
    with handle:
        with pytest.raises(OSError, match="disk full"):
            tower.save_pretrained({}, fails=True)
        with pytest.raises(EvictedWeightsError):
            tower.state_dict()


def test_with_an_adapter_around_a_layer_nothing_is_saved_under_its_names():
    tower = Saver()
    handle, _ = stream_tower(tower, StreamSettings())
    with handle:
        tower.layers[0] = torch.nn.Sequential(tower.layers[0])
        with pytest.raises(EvictedWeightsError):
            tower.save_pretrained({})


def test_detached_it_gives_and_saves_what_it_has():
    tower = Saver()
    whole = {key: tensor.clone() for key, tensor in tower.state_dict().items()}
    handle, _ = stream_tower(tower, StreamSettings())
    handle.detach()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in tower.state_dict().items())
    assert tower.save_pretrained({}) == "10GB"
    tower.load_state_dict({key: tensor + 1 for key, tensor in whole.items()})
    assert torch.equal(tower.scale, whole["scale"] + 1)
