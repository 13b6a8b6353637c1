"""That torch still keeps things where this says."""

from __future__ import annotations

import torch
from torch import nn

from streamer.runtime.torch_names import (
    APPLY,
    CALL,
    COMPILED_CALL,
    TorchDispatchMode,
    own_buffers,
    own_modules,
    own_parameters,
    remove_forward_hooks,
    storage_id,
    tree_leaves,
    tree_map,
)


def test_the_tables_of_a_module_are_its_own():
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_buffer("count", torch.zeros(1))
    own_parameters(module)["weight"] = weight = nn.Parameter(torch.ones(1))
    own_buffers(module)["count"] = torch.ones(1)
    own_modules(module)["other"] = other = nn.ReLU()
    assert module.weight is weight
    assert module.count.item() == 1
    assert module.other is other
    assert list(own_parameters(module)) == ["weight"]


def test_casting_comes_down_to_one_method():
    module = nn.Linear(2, 2)
    asked = []
    module.__dict__[APPLY] = lambda function, recurse=True: asked.append(function(torch.zeros(1)).dtype)
    module.half()
    module.to(torch.float64)
    assert asked == [torch.float16, torch.float64]


def test_calling_comes_down_to_one_method():
    module = nn.Linear(2, 2)
    module.__dict__[CALL] = lambda *args, **kwargs: (args, kwargs)
    assert module(1, a=2) == ((1,), {"a": 2})
    assert getattr(module, COMPILED_CALL) is None
    module.__dict__[COMPILED_CALL] = lambda *args, **kwargs: "compiled"
    assert module(1, a=2) == "compiled"


def test_memory_that_is_shared_has_one_number():
    one, other = torch.zeros(4, device="meta"), torch.zeros(4, device="meta")
    assert storage_id(one.untyped_storage()) == storage_id(one[2:].untyped_storage())
    assert storage_id(one.untyped_storage()) != storage_id(other.untyped_storage())


def test_no_hook_is_left():
    module = nn.Identity()
    called = []
    module.register_forward_hook(lambda *_: called.append("after"))
    module.register_forward_pre_hook(lambda *_: called.append("before"))
    module.register_forward_hook(lambda *_, **__: called.append("after"), with_kwargs=True)
    module.register_forward_pre_hook(lambda *_, **__: called.append("before"), with_kwargs=True)
    module(1)
    assert len(called) == 4
    remove_forward_hooks(module)
    module(1)
    assert len(called) == 4


def test_trees_of_arguments_are_walked_and_operations_seen():
    tree = {"a": [1, (2, 3)], "b": 4}
    assert tree_leaves(tree) == [1, 2, 3, 4]
    assert tree_map(lambda leaf: leaf * 2, tree) == {"a": [2, (4, 6)], "b": 8}
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.zeros(1) + 1
    assert torch.ops.aten.add.Tensor in seen
