"""The link to a device; what only a GPU can show is in tests/gpu."""

from __future__ import annotations

import pytest
import torch

from streamer.bench import link_speed
from streamer.bench.link_speed import measured_link


def test_a_processor_needs_no_link():
    assert measured_link(torch.device("cpu")) is None


class Pretended:
    """A device whose copies take the seconds that are given, one after the other; the first isn't timed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
        self.now, self.left, self.given_back = 0.0, [100.0, *seconds], 0
        host = torch.empty(1, dtype=torch.uint8)
        monkeypatch.setattr(torch, "empty", lambda n, dtype, **where: self if "device" in where else host)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.give_back)
        monkeypatch.setattr(link_speed.time, "perf_counter", lambda: self.now)
        self.device = torch.device("cuda:0")

    def copy_(self, host: torch.Tensor, non_blocking: bool) -> None:
        assert non_blocking
        self.now += self.left.pop(0)

    def give_back(self) -> None:
        self.given_back += 1


def test_the_median_of_several_copies_counts_and_the_memory_is_given_back(monkeypatch):
    device = Pretended(monkeypatch, [0.25] * 6 + [5.0, 0.01])
    assert measured_link(torch.device("cuda:0")) == (64 << 20) / 0.25
    assert (device.left, device.given_back) == ([], 1)


def test_without_memory_for_it_nothing_is_known(monkeypatch):
    def refuse(*args: object, **where: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", refuse)
    assert measured_link(torch.device("cuda:0")) is None
