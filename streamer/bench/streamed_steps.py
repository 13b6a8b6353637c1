"""Real steps of a streamed U-Net: seconds, stalls, memory as the system counts it, and a digest of the result."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from streamer.bench.memory import forget_peak, peak_resident_nbytes
from streamer.runtime.attach import StreamHandle
from streamer.runtime.stats import StepStats

_MOST_WAITED = 5


@dataclass(frozen=True)
class StreamedSteps:
    """Some forwards, one after the other.

    Attributes:
        seconds: of each; the first loads everything.
        stats: of each, as the engine counts.
        device_nbytes: of weights on the device.
        streamed_nbytes: that a step brings, by the plan.
        peak_resident_nbytes: of this process meanwhile.
        peak_is_own: what the process had before doesn't count in that.
        peak_device_nbytes: that torch had of the device; None on a CPU.
        digest: of the result: equal for equal results, bit for bit.
        spread: standard deviation of the result.
        finite: it has no NaN and no infinity.
        most_waited: blocks that the computing waited for longest, and seconds.
    """

    seconds: tuple[float, ...]
    stats: tuple[StepStats, ...]
    device_nbytes: int
    streamed_nbytes: int
    peak_resident_nbytes: int
    peak_is_own: bool
    peak_device_nbytes: int | None
    digest: str
    spread: float
    finite: bool
    most_waited: tuple[tuple[str, float], ...]

    @property
    def later(self) -> tuple[StepStats, ...]:
        """Those that count: without the first, where there are others."""
        return self.stats[1:] or self.stats

    @property
    def later_seconds(self) -> tuple[float, ...]:
        """Of those that count."""
        return self.seconds[1:] or self.seconds

    @property
    def step_seconds(self) -> float:
        """The median of those that count."""
        return statistics.median(self.later_seconds)

    @property
    def typical(self) -> StepStats:
        """The step of those that count whose seconds are their median; of two the faster.

        By `seconds`, which wait for the device; the engine's own count on a GPU ends with the last launch.
        """
        if len(self.later) != len(self.later_seconds):  # a step that was made again counts twice
            return sorted(self.later, key=lambda step: step.seconds)[(len(self.later) - 1) // 2]
        ordered = sorted(range(len(self.later)), key=lambda number: self.later_seconds[number])
        return self.later[ordered[(len(ordered) - 1) // 2]]


def streamed_steps(
    unet: UNet2DConditionModel,
    handle: StreamHandle,
    arguments: Mapping[str, Any],
    steps: int,
    on_step: Callable[[int, float], None] | None = None,
) -> StreamedSteps:
    """Runs the U-Net so many times with the same arguments.

    Args:
        unet: streamed.
        handle: of its weights.
        arguments: of each forward.
        steps: at least one.
        on_step: told each step's number, from 1, and seconds.
    """
    device = arguments["sample"].device
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    is_own = forget_peak()
    done = len(handle.stats.steps)
    seconds: list[float] = []
    result = torch.zeros(0)
    for number in range(1, steps + 1):
        started = time.perf_counter()
        with torch.no_grad():
            result = unet(**arguments).sample
        if on_cuda:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
        if on_step is not None:
            on_step(number, seconds[-1])
    peak = peak_resident_nbytes()  # before the result is copied and digested
    waited = {name: work.waited_seconds for name, work in handle.stats.by_block.items() if work.waited_seconds}
    return StreamedSteps(
        seconds=tuple(seconds),
        stats=handle.stats.steps[done:],
        device_nbytes=handle.device_nbytes,
        streamed_nbytes=handle.plan.streamed_nbytes,
        peak_resident_nbytes=peak,
        peak_is_own=is_own,
        peak_device_nbytes=int(torch.cuda.max_memory_reserved(device)) if on_cuda else None,
        digest=digest(result),
        spread=float(result.float().std()),
        finite=bool(torch.isfinite(result).all()),
        most_waited=tuple(sorted(waited.items(), key=lambda item: -item[1])[:_MOST_WAITED]),
    )


def digest(result: torch.Tensor) -> str:
    """Sixteen hexadecimal digits that are equal for equal results, bit for bit, and practically only for those."""
    values = result.detach().cpu().contiguous().view(torch.uint8)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]
