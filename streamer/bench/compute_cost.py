"""How long each turn of a U-Net computes on this machine, without its weights: a block of each kind is run."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from streamer.bench.sampled import Kind, seconds_per_size
from streamer.bench.unet_calls import Call, record_calls
from streamer.bench.whole_forward import timed_forward
from streamer.models.unet_inputs import StepShape

_PATIENCE = 1.5  # times the time to measure that one call of each kind may take: smaller shapes tell less
_SMALLEST_SIDE = 16  # of a latent to measure with
_SMALL_WEIGHT = 0.01


@dataclass(frozen=True)
class ComputeCost:
    """Of one forward.

    Attributes:
        order: the block of each turn, as it really runs.
        turn_seconds: of each turn.
        gap_seconds: of the layers outside of blocks, just before each turn.
        flops: of all.
        measured_at: the shape that was measured, smaller where the whole one would take too long; None: not measured.
    """

    order: tuple[int, ...]
    turn_seconds: tuple[float, ...]
    gap_seconds: tuple[float, ...]
    flops: int
    measured_at: StepShape | None

    @property
    def seconds(self) -> float:
        """Of the whole forward, with everything there."""
        return sum(self.turn_seconds) + sum(self.gap_seconds)


def assumed_cost(config: Mapping[str, Any], shape: StepShape, flops_per_second: float) -> ComputeCost:
    """For a machine of which only the speed is known.

    Args:
        config: of the U-Net.
        shape: of the latent.
        flops_per_second: that the device reaches in such models.
    """
    calls = record_calls(config, torch.float32, shape)
    return _by_turn(calls, [call.flops / flops_per_second for call in calls], None)


def measured_cost(
    config: Mapping[str, Any], shape: StepShape, device: torch.device, dtype: torch.dtype, seconds: float
) -> ComputeCost:
    """Measured here, with weights that don't matter: whole forwards if they are short; else one block of each kind, and
    the others take as long.

    Where one call of each kind would take too long, a smaller batch or latent is measured instead, and the seconds grow
    with the FLOPs. Memory: the largest block's.

    Args:
        config: of the U-Net.
        shape: of the latent.
        device: to compute on.
        dtype: to compute in.
        seconds: that measuring may take, about.
    """
    calls = record_calls(config, dtype, shape)
    speed = _speed(device, dtype)
    if 2 * sum(call.flops for call in calls) / speed <= seconds:
        laps = timed_forward(config, shape, device, dtype, seconds)
        flops = sum(call.flops for call in calls)
        return ComputeCost(tuple(laps.order), tuple(laps.turns), tuple(laps.gaps), flops, shape)
    smaller, measured = shape, calls
    while _one_of_each(measured) / speed > _PATIENCE * seconds and (less := _less(smaller)) is not None:
        smaller, measured = less, record_calls(config, dtype, less)
    kinds: dict[Hashable, list[Call]] = {}
    for call in measured:
        kinds.setdefault(call.kind, []).append(call)
    pieces = [
        Kind(kind, same[0].work, sum(call.work for call in same), partial(_runner, same[0], device))
        for kind, same in kinds.items()
    ]
    rates = seconds_per_size(pieces, seconds)
    durations = [whole.work * rates[small.kind] for whole, small in zip(calls, measured, strict=True)]
    return _by_turn(calls, durations, smaller)


def _less(shape: StepShape) -> StepShape | None:
    """The next smaller shape, the batch first, since it changes least; None where it would be too small."""
    if shape.batch > 1:
        return replace(shape, batch=1)
    if min(shape.width, shape.height) < 2 * _SMALLEST_SIDE:
        return None
    return replace(shape, width=shape.width // 2, height=shape.height // 2)


def _one_of_each(calls: Sequence[Call]) -> float:
    """FLOPs of one call of each kind."""
    return sum({call.kind: call.flops for call in calls}.values())


def _speed(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a product of matrices, roughly: to know what measuring will take."""
    n = 1024
    left, right = (torch.full((n, n), _SMALL_WEIGHT, device=device, dtype=dtype) for _ in range(2))

    def product() -> float:
        started = time.perf_counter()
        torch.mm(left, right)
        _finish(device)
        return time.perf_counter() - started

    product()
    return 2 * n**3 / statistics.median(product() for _ in range(3))


def _runner(call: Call, device: torch.device) -> Callable[[], float]:
    """What runs the call on the device, with weights of its own, and returns its seconds."""
    module = copy.deepcopy(call.module).to_empty(device=device)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().fill_(_SMALL_WEIGHT)
    args, kwargs = _real(call.args, device), _real(dict(call.kwargs), device)

    def run() -> float:
        started = time.perf_counter()
        with torch.no_grad():
            module(*args, **kwargs)
        _finish(device)
        return time.perf_counter() - started

    return run


def _real(value: Any, device: torch.device) -> Any:
    """The nested arguments with tensors that have numbers."""
    if isinstance(value, torch.Tensor):
        # A different number each: kernels may skip what is all the same, and some numbers are slower than others.
        numbers = torch.rand(value.shape, device=device)
        return numbers.to(value.dtype)
    if isinstance(value, dict):
        return {key: _real(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_real(item, device) for item in value)
    return value


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _by_turn(calls: Sequence[Call], seconds: Sequence[float], measured_at: StepShape | None) -> ComputeCost:
    order: list[int] = []
    turns: list[float] = []
    gaps: list[float] = []
    gap = 0.0
    for call, duration in zip(calls, seconds, strict=True):
        if call.block is None:
            gap += duration
        else:
            order.append(call.block)
            turns.append(duration)
            gaps.append(gap)
            gap = 0.0
    if gaps:
        gaps[0] += gap  # what comes after the last turn comes before the first one of the next step
    return ComputeCost(tuple(order), tuple(turns), tuple(gaps), sum(call.flops for call in calls), measured_at)
