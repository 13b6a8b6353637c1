"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from streamer.errors import DeviceError
from streamer.models.device import choose_device, compute_type, decode_workers


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="--device cpu"):
        choose_device("cuda")


def test_with_a_gpu_auto_is_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    # With its number: torch's cap on memory, for one, doesn't know which device plain "cuda" is.
    for name in ("auto", "cuda", "cuda:0"):
        assert choose_device(name).index == 0
    with pytest.raises(DeviceError, match="1 CUDA device"):
        choose_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU0", ""])
def test_other_names_are_an_error(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        choose_device(name)


def test_half_precision_only_off_the_cpu():
    assert compute_type(torch.device("cpu")) is torch.float32
    assert compute_type(torch.device("cuda")) is torch.float16


def test_on_a_cpu_as_many_threads_decode_as_compute_at_most_four(monkeypatch):
    for threads, workers in ((1, 1), (2, 2), (4, 4), (32, 4)):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        assert decode_workers(torch.device("cpu")) == workers


def test_with_a_gpu_half_the_processors_decode_at_most_four(monkeypatch):
    for processors, workers in ((1, 1), (4, 2), (16, 4)):
        monkeypatch.setattr("streamer.models.device.processors", lambda n=processors: n)
        assert decode_workers(torch.device("cuda")) == workers
