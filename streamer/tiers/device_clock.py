"""When a device came to a point of its work: it runs behind the program, so the program's clock doesn't tell."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Mark = Callable[[], float]
"""Gives the seconds of `time.perf_counter` at which the device was there; waits until it is."""


class DeviceClock:
    """Marks points of a CUDA device's streams without waiting for it. Thread-safe.

    Its zero is set while nothing runs there: making one waits for the device.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.synchronize(device)
        self._zero = torch.cuda.Event(enable_timing=True)
        self._zero.record(torch.cuda.current_stream(device))
        self._zero.synchronize()
        self._seconds_at_zero = time.perf_counter()

    def mark(self, stream: torch.cuda.Stream | None = None) -> Mark:
        """A mark after what the stream has been given so far; None: the calling thread's current one."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device) if stream is None else stream)

        def seconds() -> float:
            event.synchronize()
            milliseconds: float = self._zero.elapsed_time(event)
            return self._seconds_at_zero + milliseconds / 1e3

        return seconds


def clock_of(device: torch.device) -> DeviceClock | None:
    """The device's clock; None where the program's tells what the device does."""
    return DeviceClock(device) if device.type == "cuda" else None
