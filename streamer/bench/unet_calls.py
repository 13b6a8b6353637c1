"""What a U-Net computes in one forward, without weights or numbers: each module's call with its shapes and FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from streamer.models.unet import empty_unet, unet_blocks
from streamer.models.unet_inputs import StepShape, unet_inputs
from streamer.runtime.torch_names import own_parameters, remove_forward_hooks

_FLOPS_AN_ELEMENT = 100
"""What an element that goes through a layer costs beside its FLOPs: a processor that computes 100 to 150 GFLOP/s reads
and writes about one element in a nanosecond."""


@dataclass(frozen=True)
class Call:
    """One call of a module during a forward.

    Attributes:
        name: of the module.
        block: its number; None: a layer of the small rest.
        module: on the meta device.
        args: of the call, tensors on the meta device.
        kwargs: likewise.
        flops: of its multiplications and additions.
    """

    name: str
    block: int | None
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    flops: int

    @property
    def work(self) -> float:
        """What its seconds grow with: FLOPs, and elements for layers that have few."""
        return self.flops + _FLOPS_AN_ELEMENT * sum(map(math.prod, _shapes((self.args, dict(self.kwargs)))))

    @property
    def kind(self) -> Hashable:
        """Equal for calls that take equally long."""
        weights = tuple(tuple(parameter.shape) for parameter in self.module.parameters())
        return type(self.module).__name__, weights, tuple(_shapes((self.args, dict(self.kwargs))))


def record_calls(config: Mapping[str, Any], dtype: torch.dtype, shape: StepShape) -> tuple[Call, ...]:
    """Every call of a block, and of a layer outside of blocks that has weights, in the order of one forward.

    Takes a second for SDXL, whatever the size: nothing is computed.

    Args:
        config: of the U-Net, of SDXL's kind (text and time are added).
        dtype: to compute in.
        shape: of the latent.
    """
    unet = nn.Module.to(empty_unet(config), dtype=dtype)  # its own warns of what concerns weights
    numbers: dict[str, int | None] = {b.name: i for i, b in enumerate(unet_blocks(unet)) if not b.pinned}
    leaves = {name for name, module in unet.named_modules() if own_parameters(module) and not any(module.children())}
    outside = [name for name in leaves if not any(name == block or name.startswith(f"{block}.") for block in numbers)]
    wanted = numbers | dict.fromkeys(outside)
    calls: list[Call] = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for name, module in unet.named_modules():
            if name in wanted:
                _observe(name, wanted[name], module, counter.get_total_flops, calls.append)
        unet(**unet_inputs(config, dtype, shape))
    for call in calls:
        remove_forward_hooks(call.module)
    return tuple(calls)


def _observe(
    name: str, block: int | None, module: nn.Module, flops: Callable[[], int], note: Callable[[Call], None]
) -> None:
    before: list[int] = []

    def entered(*_: Any) -> None:
        before.append(flops())

    def left(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
        note(Call(name, block, module, args, kwargs, flops() - before.pop()))

    module.register_forward_pre_hook(entered)
    module.register_forward_hook(left, with_kwargs=True)


def _shapes(value: Any) -> list[tuple[int, ...]]:
    """Of all tensors in nested arguments, in order."""
    if isinstance(value, torch.Tensor):
        return [tuple(value.shape)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [shape for item in value for shape in _shapes(item)]
    return []
