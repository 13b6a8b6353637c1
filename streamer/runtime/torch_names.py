"""What is known of torch's inside: where a module keeps its tensors, and tools that have no public name."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map as tree_map

APPLY = "_apply"
"""The method that ``to``, ``half``, ``cuda`` and the like come down to."""

CALL = "_call_impl"
"""The method that calling a module comes down to: its hooks and its forward."""

COMPILED_CALL = "_compiled_call_impl"
"""What calling a module comes down to instead, once its ``compile()`` was called; else None."""


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The module's own parameters by name: the table itself. Written here, no hook is told and no check made."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, torch.Tensor | None]:
    """The module's own buffers by name: the table itself."""
    return module._buffers


def own_modules(module: nn.Module) -> dict[str, nn.Module | None]:
    """The modules right below it by name: the table itself."""
    return module._modules


def storage_id(storage: torch.UntypedStorage) -> int:
    """A number that no other memory has while this lives, also on the meta device."""
    return int(storage._cdata)


def remove_forward_hooks(module: nn.Module) -> None:
    """Nothing is called before and after the module's forward any more."""
    for hooks in (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._forward_pre_hooks_with_kwargs,
        module._forward_hooks_with_kwargs,
    ):
        hooks.clear()
