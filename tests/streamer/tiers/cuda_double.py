"""Streams and events without a GPU: what is enqueued runs later, in the worst order that the events allow."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Device:
    """All streams; runs what they hold, one operation at a time, from a stream chosen at random. Thread-safe.

    Its memory is the host's: tensors that operations were enqueued for, and read by a test when it likes.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        self.streams: list[Stream] = []
        self.compute = Stream(self)
        self.ahead = self.compute
        self.operations: list[str] = []  # that were run, by name
        self.milliseconds = 0  # its own time: one for each operation

    def run_one(self) -> bool:
        with self.lock:
            ready = [stream for stream in self.streams if stream.can_run()]
            if not ready:
                assert not any(stream.queue for stream in self.streams), "streams wait for each other"
                return False
            # One stream runs ahead for a while: then even a short operation of another can be very late.
            if self.ahead not in ready or self.random.random() < 0.1:
                self.ahead = self.random.choice(ready)
            self.milliseconds += 1
            self.ahead.run()
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
        with self.device.lock:
            while self.queue:
                assert self.device.run_one()


class Event:
    """Counts how often it was recorded, and how many of these records its stream has reached."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.recorded = 0
        self.done = 0
        self.reached_at = 0

    def record(self, stream: Stream) -> None:
        self.recorded += 1
        mark = self.recorded

        def reached() -> None:
            self.done = max(self.done, mark)
            self.reached_at = self.device.milliseconds

        stream.queue.append(reached)

    def synchronize(self) -> None:
        with self.device.lock:
            mark = self.recorded
            while self.done < mark:
                assert self.device.run_one()

    def elapsed_time(self, later: Event) -> float:
        assert self.done, "not reached yet"
        assert later.done, "not reached yet"
        return float(later.reached_at - self.reached_at)


class Enqueueing(TorchDispatchMode):
    """What torch is asked to write is enqueued on a stream, and done when the stream comes to it.

    Fails where something would make the host wait for the device, or take device memory: work on a stream of one's own
    may do neither.
    """

    def __init__(self, device: Device, stream: Stream) -> None:
        super().__init__()
        self.device = device
        self.stream = stream

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        assert func._schema.is_mutable, f"{func} takes memory or reads a value back"
        written = kwargs.get("out", args[0] if args else None)
        if func is torch.ops.aten.copy_.default and _storage(args[1]) != _storage(written):
            assert kwargs.get("non_blocking") or args[2:] == (True,), "a copy from the host that makes it wait"

        def run() -> None:
            self.device.operations.append(str(func))
            func(*args, **kwargs)

        self.stream.queue.append(run)
        return written


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def install(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    """Puts the double in place of torch.cuda's streams and events."""

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        with Enqueueing(device, stream):
            yield

    @contextmanager
    def ignored(_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream(device))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing=False, blocking=False: Event(device))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: device.compute)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "device", ignored)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: device.run_all())
