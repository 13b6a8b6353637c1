"""What is free is what the process can have; a CPU's device is the host."""

from __future__ import annotations

import torch

from streamer.bench import free_memory as module
from streamer.bench.free_memory import free_memory


def test_a_cpus_device_is_the_host(monkeypatch):
    monkeypatch.setattr(module, "available_nbytes", lambda: 7)
    found = free_memory(torch.device("cpu"))
    assert found.device == found.host == 7


def test_a_gpus_is_its_own(monkeypatch):
    monkeypatch.setattr(module, "available_nbytes", lambda: 7)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 9))
    found = free_memory(torch.device("cuda"))
    assert (found.device, found.host) == (5, 7)
