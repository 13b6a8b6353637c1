"""A copy of a module as it is now, adapters included, that has shapes and no memory."""

from __future__ import annotations

from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def twin_of(module: _Module) -> _Module:
    """A module that computes the same from shapes, on torch's meta device; running it changes nothing of the original.

    Without the original's hooks, and without what is set on the instance in place of its class's methods.

    Args:
        module: streamed or not; its weights aren't read.
    """
    made: dict[int, Any] = {}

    def copied(module: Any) -> Any:
        if id(module) in made:
            return made[id(module)]
        kind: Any = type(module)
        twin = made[id(module)] = kind.__new__(kind)
        nn.Module.__init__(twin)
        fresh = frozenset(twin.__dict__)
        for name, value in module.__dict__.items():
            if name not in fresh and not _stands_for_a_method(module, name, value):
                # Containers are the twin's own: adapters' scales are changed during a forward and changed back.
                twin.__dict__[name] = value.copy() if type(value) in (dict, list, set) else value
        twin.__dict__["training"] = module.training
        for name, parameter in module._parameters.items():
            twin._parameters[name] = None if parameter is None else nn.Parameter(_empty(parameter), requires_grad=False)
        for name, buffer in module._buffers.items():
            twin._buffers[name] = None if buffer is None else _empty(buffer)
        for name, child in module._modules.items():
            twin._modules[name] = None if child is None else copied(child)
        return twin

    twin: _Module = copied(module)
    return twin


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _stands_for_a_method(module: nn.Module, name: str, value: object) -> bool:
    return isinstance(value, FunctionType) and hasattr(type(module), name)
