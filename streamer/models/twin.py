"""A copy of a module that has shapes and no memory, and computes as the module does now."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from streamer.runtime.torch_names import own_buffers, own_modules, own_parameters
from streamer.runtime.transformers_names import HOOKS_ARE_IN

Structure = tuple[int, ...]
"""Of a tree of modules: changes with what is put in, taken out or replaced, also if it is only what computes attention.
"""


def structure(module: nn.Module) -> Structure:
    """What `twin_of` depends on, told in a millisecond or two for SDXL's U-Net.

    Args:
        module: root of a tree.
    """
    found: list[int] = []
    waiting: list[nn.Module | None] = [module]
    while waiting:
        one = waiting.pop()
        if one is not None:
            own = one.__dict__
            found.append(id(one))
            if "processor" in own:  # of diffusers' attention: often no module
                found.append(id(own["processor"]))
            waiting.extend(own_modules(one).values())
    return tuple(found)


def twin_of(module: nn.Module) -> nn.Module:
    """The same tree on torch's meta device, adapters and attention processors included; without hooks.

    What is no module, parameter, buffer or container is the module's own. A ``forward`` or another method that somebody
    has put onto an instance is left out: it would run the module itself.

    Args:
        module: root of a tree; may be streamed.
    """
    return _twin(module, {})


def _twin(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    kind = type(module)
    twin: nn.Module = kind.__new__(kind)
    made[id(module)] = twin
    blank = nn.Module().__dict__
    twin.__dict__.update(blank)
    for name, value in module.__dict__.items():
        a_method = callable(value) and (hasattr(kind, name) or name.startswith("__"))
        if name not in blank and not a_method and name != HOOKS_ARE_IN:
            # Containers are the twin's own: adapters' scales are changed during a forward and changed back.
            twin.__dict__[name] = value.copy() if type(value) in (dict, list, set) else value
    twin.training = module.training
    for name, parameter in own_parameters(module).items():
        own_parameters(twin)[name] = None if parameter is None else nn.Parameter(_empty(parameter), requires_grad=False)
    for name, buffer in own_buffers(module).items():
        own_buffers(twin)[name] = None if buffer is None else _empty(buffer)
    for name, child in own_modules(module).items():
        own_modules(twin)[name] = None if child is None else _twin(child, made)
    return twin


def _empty(tensor: Any) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
