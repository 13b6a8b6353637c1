"""What can't be done with a module whose weights are elsewhere is refused where it is asked for, with what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from streamer.errors import EvictedWeightsError
from streamer.runtime.adapter_layers import HINT
from streamer.runtime.in_memory import InMemory
from streamer.runtime.torch_names import APPLY, own_parameters

_REFUSED = {
    "fuse_qkv_projections": ("rewritten with fused projections", "the pictures are the same without."),
    "enable_group_offload": ("offloaded by other means as well", "a smaller vram_budget does what it is for."),
    "enable_layerwise_casting": ("kept in another type", "a smaller vram_budget does what it is for."),
}


class Guards:
    """Refuses to copy a streamed module, to move or cast it, and to fuse adapters into it, until they are removed.

    Args:
        root: the module.
        device: that it computes on.
        dtype: that it computes in.
        keeps_type: a cast is passed over instead of refused: the module computes in its own type whatever is asked.
        in_memory: knows what streams; without it, all parameters of the module are taken to.
    """

    def __init__(
        self,
        root: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        *,
        keeps_type: bool = False,
        in_memory: InMemory | None = None,
    ) -> None:
        self._root = root
        streamed = functools.partial(_streamed, root, in_memory)
        # Of the instance, so that other modules of its class stay as they are.
        self._set = {
            APPLY: _applied(getattr(root, APPLY), device, dtype, keeps_type, streamed),
            "__deepcopy__": _refusing("copied", "Load it a second time instead: the weight file can be shared."),
        }
        if hasattr(root, "fuse_lora"):
            self._set["fuse_lora"] = _refusing("fused with an adapter (fuse_lora)", HINT)
        for name, (what, hint) in _REFUSED.items():
            if hasattr(root, name):
                self._set[name] = _refusing(what, f"Leave {name}() out: {hint}")
        for name, value in self._set.items():
            root.__dict__[name] = value

    def remove(self) -> None:
        """The module is as it was."""
        for name in self._set:
            self._root.__dict__.pop(name, None)


def _refusing(what: str, hint: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise EvictedWeightsError(
            f"The weights of this module are streamed: most of them aren't in memory, so it can't be {what}.", hint
        )

    return refuse


def _streamed(root: nn.Module, in_memory: InMemory | None) -> dict[int, torch.Tensor]:
    """By their ids. Where nobody knows, all parameters: to leave one more alone does no harm."""
    if in_memory is None:
        return {id(parameter): parameter for parameter in root.parameters()}
    named = ((own_parameters(module), attribute) for _, module, attribute in in_memory.streamed())
    return {id(own[attribute]): each for own, attribute in named if (each := own[attribute]) is not None}


def _changes_format(function: Callable[[torch.Tensor], torch.Tensor], axes: int, like: torch.Tensor) -> bool:
    """Of tensors with so many axes: torch leaves others than 4 and 5 alone."""
    probe = like.new_zeros((2,) * axes)  # not empty: that is in every format
    return function(probe).stride() != probe.stride()


def _applied(
    apply: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype,
    keeps_type: bool,
    streamed: Callable[[], dict[int, torch.Tensor]],
) -> Callable[..., Any]:
    """What ``to``, ``half``, ``cuda`` and the like come down to: done where it changes nothing about the weights."""

    def applied(function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        probe = torch.empty(0, dtype=dtype, device=device)
        result = function(probe)
        if result.device != probe.device:
            raise EvictedWeightsError(
                f"The weights of this module are streamed to {device}: it can't be moved to {result.device}.",
                "Say device=... when it is loaded. Offloading by other means (enable_model_cpu_offload and the like) "
                "has to be left out: a smaller vram_budget does that.",
            )
        if keeps_type:
            return apply(lambda tensor: tensor, recurse)
        if result.dtype != dtype:
            raise EvictedWeightsError(
                f"The weights of this module are streamed as {dtype}: it can't be cast to {result.dtype}.",
                "Say dtype=... when it is loaded. from_pipe() casts to float32 unless it is told the type: "
                f"from_pipe(pipe, torch_dtype={dtype}).",
            )
        left_alone = streamed()
        if any(_changes_format(function, axes, probe) for axes in {each.dim() for each in left_alone.values()}):
            raise EvictedWeightsError(
                "The weights of this module are streamed in the order in which the file has them: they can't be "
                "brought into another memory format.",
                "Leave memory_format=torch.channels_last out of it. What the module is given may be in that format.",
            )
        # Streamed ones are as they are asked to be, and what stands for them mustn't get memory of its own.
        return apply(lambda tensor: tensor if id(tensor) in left_alone else function(tensor), recurse)

    return applied
