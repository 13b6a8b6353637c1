"""Weights that aren't in memory are given truly or not at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from streamer.config import StreamSettings
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
