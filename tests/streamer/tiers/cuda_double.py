"""Streams and events without a GPU: what is enqueued runs later, in the worst order that the events allow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch


class Device:
    """All streams; runs what they hold, one operation at a time, from a stream chosen at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.streams: list[Stream] = []
        self.compute = Stream(self)
        self.current = self.compute

    def run_one(self) -> bool:
        ready = [stream for stream in self.streams if stream.can_run()]
        if not ready:
            assert not any(stream.queue for stream in self.streams), "streams wait for each other"
            return False
        self.random.choice(ready).run()
        return True

    def run_all(self) -> None:
        while self.run_one():
            pass


class Stream:
    """A queue of operations and waits."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.queue: list[Callable[[], None] | tuple[Event, int]] = []
        device.streams.append(self)

    def can_run(self) -> bool:
        if not self.queue:
            return False
        head = self.queue[0]
        return not isinstance(head, tuple) or head[0].done >= head[1]

    def run(self) -> None:
        head = self.queue.pop(0)
        if not isinstance(head, tuple):
            head()

    def wait_event(self, event: Event) -> None:
        self.queue.append((event, event.recorded))

    def wait_stream(self, other: Stream) -> None:
        event = Event(self.device)
        event.record(other)
        self.wait_event(event)

    def synchronize(self) -> None:
        while self.queue:
            assert self.device.run_one()


class Event:
    """Counts how often it was recorded, and how many of these records its stream has reached."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.recorded = 0
        self.done = 0

    def record(self, stream: Stream) -> None:
        self.recorded += 1
        mark = self.recorded

        def reached() -> None:
            self.done = max(self.done, mark)

        stream.queue.append(reached)

    def synchronize(self) -> None:
        mark = self.recorded
        while self.done < mark:
            assert self.device.run_one()


class Slot:
    """Device memory: a copy into it happens when the stream that it was enqueued on comes to it."""

    def __init__(self, device: Device, memory: torch.Tensor) -> None:
        self.gpu = device
        self.memory = memory
        self.device = torch.device("cuda")

    def numel(self) -> int:
        return self.memory.numel()

    def copy_(self, source: torch.Tensor, *, non_blocking: bool = False) -> None:
        assert non_blocking
        self.gpu.current.queue.append(lambda: self.memory.copy_(source))


def install(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    """Puts the double in place of torch.cuda's streams and events."""

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        before, device.current = device.current, stream
        yield
        device.current = before

    @contextmanager
    def ignored(_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream(device))
    monkeypatch.setattr(torch.cuda, "Event", lambda: Event(device))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: device.compute)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "device", ignored)
