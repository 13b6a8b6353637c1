"""That accelerate still says it so."""

from __future__ import annotations

import torch
from accelerate import cpu_offload_with_hook, dispatch_model
from accelerate.hooks import remove_hook_from_module
from torch import nn

from streamer.runtime.accelerate_names import is_moved_about


def test_a_module_that_accelerate_moves_is_told():
    module = nn.Linear(2, 2)
    assert not is_moved_about(module)
    cpu_offload_with_hook(module, torch.device("cpu"))
    assert is_moved_about(module)
    remove_hook_from_module(module)
    assert not is_moved_about(module)


def test_also_one_whose_layers_were_given_to_devices():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    dispatch_model(module, {"0": "cpu", "1": "cpu"}, main_device="cpu", force_hooks=True)
    assert is_moved_about(module)
