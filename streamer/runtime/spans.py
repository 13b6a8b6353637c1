"""What happened when, as spans of time on lanes: what a trace is drawn from."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum

from streamer.tiers.device_clock import Mark

_MOST = 1_000_000  # spans; a step of SDXL has a few thousand


class Lane(str, Enum):
    """What was busy."""

    DISK = "disk"
    DECODE = "decode"
    UPLOAD = "upload"
    COMPUTE = "compute"
    WAIT = "wait"


@dataclass(frozen=True)
class Span:
    """Something that took time.

    Attributes:
        lane: what was busy.
        name: of the block or tensor.
        start: seconds, by `time.perf_counter`.
        end: likewise, not before ``start``.
        thread: that did it, or had the device do it, by name.
        step: the forward during which it ended, from 1; 0 before the first.
        nbytes: that were read or written.
    """

    lane: Lane
    name: str
    start: float
    end: float
    thread: str
    step: int
    nbytes: int = 0


class SpanRecorder:
    """Keeps spans, the first million; counts those it has no room for. Thread-safe.

    What a device does ends later than it is noted: such a span's times are asked for when `spans` is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[int, tuple[Mark, Mark]] = {}  # of spans whose times aren't known yet, by place
        self._spans: list[Span] = []
        self._step = 0
        self.dropped = 0

    @property
    def spans(self) -> tuple[Span, ...]:
        """All so far, in the order in which they were noted. Waits for a device that hasn't come so far."""
        with self._lock:
            for place, (began, ended) in self._marks.items():
                self._spans[place] = replace(self._spans[place], start=began(), end=ended())
            self._marks.clear()
            return tuple(self._spans)

    def begin_step(self) -> None:
        """A forward starts."""
        with self._lock:
            self._step += 1

    def note(
        self,
        lane: Lane,
        name: str,
        start: float,
        end: float,
        nbytes: int = 0,
        on_device: tuple[Mark, Mark] | None = None,
    ) -> None:
        """The calling thread did something, or had the device do it between these marks."""
        span = Span(lane, name, start, end, threading.current_thread().name, self._step, nbytes)
        with self._lock:
            if len(self._spans) < _MOST:
                if on_device is not None:
                    self._marks[len(self._spans)] = on_device
                self._spans.append(span)
            else:
                self.dropped += 1
