"""A device's own times, without waiting for it before they are asked for."""

from __future__ import annotations

import time

import pytest
import torch

from streamer.tiers.device_clock import DeviceClock, clock_of
from tests.streamer.tiers import cuda_double

CUDA = torch.device("cuda")


def test_marks_tell_when_the_device_came_there_and_wait_only_when_asked(monkeypatch):
    device = cuda_double.Device(0)
    cuda_double.install(monkeypatch, device)
    before = time.perf_counter()
    clock = DeviceClock(CUDA)
    after = time.perf_counter()
    done: list[str] = []
    device.compute.queue.append(lambda: done.append("earlier"))
    first = clock.mark()
    device.compute.queue += [lambda: done.append("work")] * 10
    second = clock.mark()
    assert done == []
    assert second() - first() == pytest.approx(0.011)  # ten operations and the mark, a millisecond each
    assert len(done) == 11
    assert before + 0.002 <= first() <= after + 0.002


def test_a_mark_may_be_of_another_stream(monkeypatch):
    device = cuda_double.Device(0)
    cuda_double.install(monkeypatch, device)
    clock = DeviceClock(CUDA)
    other = torch.cuda.Stream(CUDA)
    done: list[str] = []
    device.compute.queue.append(lambda: done.append("compute"))
    other.queue.append(lambda: done.append("copy"))
    mark = clock.mark(other)
    mark()
    assert "copy" in done


def test_where_the_program_does_the_work_itself_its_own_clock_will_do():
    assert clock_of(torch.device("cpu")) is None
