"""Seconds of each turn of a U-Net in one real forward, with weights that don't matter and take hardly any memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from streamer.models.unet import empty_unet, unet_blocks
from streamer.models.unet_inputs import StepShape, unet_inputs
from streamer.runtime.torch_names import own_parameters

_MOST_RUNS = 5
_SMALL_WEIGHT = 0.05


@dataclass
class Laps:
    """One forward, lap by lap.

    Attributes:
        order: the block of each turn.
        turns: seconds of each turn.
        gaps: seconds before each turn; what comes after the last one is in the first.
    """

    order: list[int] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def timed_forward(
    config: Mapping[str, Any], shape: StepShape, device: torch.device, dtype: torch.dtype, seconds: float
) -> Laps:
    """The median of a few forwards, turn by turn; the first isn't counted.

    All parameters lie over each other in memory that the largest one needs. So each is read from memory or cache as a
    real one, nearly, and the model needs no more than its largest layer.

    Args:
        config: of the U-Net.
        shape: of the latent.
        device: to compute on.
        dtype: to compute in.
        seconds: for all forwards together, about; two are made in any case.
    """
    unet = empty_unet(config)
    _overlay_weights(unet, device, dtype)
    arguments = _on(unet_inputs(config, dtype, shape), device)
    watch = _Watch(unet, device)
    runs: list[Laps] = []
    started = time.perf_counter()
    while len(runs) < 2 or (
        len(runs) < _MOST_RUNS and (time.perf_counter() - started) * (len(runs) + 1) < seconds * len(runs)
    ):
        with torch.no_grad():
            runs.append(watch.time(arguments))
    counted = runs[1:]
    return Laps(
        counted[0].order,
        [statistics.median(turn) for turn in zip(*(run.turns for run in counted), strict=True)],
        [statistics.median(gap) for gap in zip(*(run.gaps for run in counted), strict=True)],
    )


class _Watch:
    """Takes the time at each block's beginning and end, by hooks."""

    def __init__(self, unet: UNet2DConditionModel, device: torch.device) -> None:
        self._unet = unet
        self._device = device
        self._laps = Laps()
        self._last = 0.0
        for number, block in enumerate(unet_blocks(unet)):
            if not block.pinned:
                block.module.register_forward_pre_hook(partial(self._begins, number))
                block.module.register_forward_hook(self._ends)

    def time(self, arguments: Mapping[str, Any]) -> Laps:
        self._laps = Laps()
        self._last = self._now()
        self._unet(**arguments)
        rest = self._now() - self._last
        if self._laps.gaps:
            self._laps.gaps[0] += rest
        return self._laps

    def _begins(self, number: int, *_: Any) -> None:
        now = self._now()
        self._laps.order.append(number)
        self._laps.gaps.append(now - self._last)
        self._last = now

    def _ends(self, *_: Any) -> None:
        now = self._now()
        self._laps.turns.append(now - self._last)
        self._last = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _overlay_weights(unet: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Every parameter becomes a view of the same memory."""
    largest = max(parameter.numel() for parameter in unet.parameters())
    memory = torch.empty(largest, device=device, dtype=dtype).uniform_(-_SMALL_WEIGHT, _SMALL_WEIGHT)
    for module in unet.modules():
        for name, parameter in own_parameters(module).items():
            if parameter is not None:
                view = memory[: parameter.numel()].view(parameter.shape)
                own_parameters(module)[name] = nn.Parameter(view, requires_grad=False)


def _on(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.rand(value.shape, device=device).to(value.dtype)
    return {key: _on(item, device) for key, item in value.items()}
