"""That diffusers still says it so."""

from __future__ import annotations

import pytest
import torch
from diffusers.hooks import apply_group_offloading
from diffusers.loaders.unet_loader_utils import _maybe_expand_lora_scales
from torch import nn

from streamer.runtime.diffusers_names import is_offloaded_in_groups, only_names_are_asked_for


class Tree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.last = nn.Linear(2, 2)


@pytest.mark.parametrize("how", [{"offload_type": "leaf_level"}, {"num_blocks_per_group": 1}])
def test_a_module_that_is_offloaded_in_groups_is_told(how):
    module = Tree()
    assert not is_offloaded_in_groups(module)
    apply_group_offloading(module, torch.device("cpu"), **how)
    assert is_offloaded_in_groups(module)


def test_it_is_told_where_only_what_is_inside_of_a_child_has_hooks():
    module = nn.ModuleDict({"text_model": Tree()})
    apply_group_offloading(module, torch.device("cpu"), offload_type="leaf_level")
    assert is_offloaded_in_groups(module)


def test_who_looks_up_keys_only_is_told(resident_unet):
    asked = []
    watch = resident_unet.register_state_dict_pre_hook(lambda *_: asked.append(only_names_are_asked_for()))
    resident_unet.state_dict()
    _maybe_expand_lora_scales(resident_unet, [{"up": {"block_0": 0.5}}])
    watch.remove()
    assert asked == [False, True]
