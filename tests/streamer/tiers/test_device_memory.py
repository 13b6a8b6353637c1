"""The cap and the counts, with a device that isn't there; tests/gpu has the same with one that is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from streamer.tiers.device_memory import CONTEXT_NBYTES, PeakMeter, cap, context_nbytes

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


@pytest.fixture
def cuda(monkeypatch) -> SimpleNamespace:
    """What torch.cuda would answer, and what it was told."""
    state = SimpleNamespace(free=5_600_000_000, total=6_000_000_000, reserved=0, allocated=0, peak=0, fraction=None)

    def set_fraction(fraction: float, device: torch.device) -> None:
        state.fraction = fraction

    def reset(device: torch.device) -> None:
        state.peak = state.allocated

    answers = {
        "mem_get_info": lambda device: (state.free, state.total),
        "memory_reserved": lambda device: state.reserved,
        "memory_allocated": lambda device: state.allocated,
        "max_memory_allocated": lambda device: state.peak,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=state.total),
        "set_per_process_memory_fraction": set_fraction,
        "reset_peak_memory_stats": reset,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return state


def test_the_context_is_what_is_gone_and_no_tensors(cuda):
    assert context_nbytes(GPU) == 400_000_000
    cuda.reserved = 100_000_000
    assert context_nbytes(GPU) == 300_000_000


@pytest.mark.parametrize("free", [1_000_000_000, 6_000_000_000])
def test_what_others_take_is_not_counted_and_a_context_always_is(cuda, free):
    cuda.free = free
    assert context_nbytes(GPU) == CONTEXT_NBYTES


def test_the_cap_is_a_share_of_all_memory_and_never_more_than_all(cuda):
    cap(GPU, 1_500_000_000)
    assert cuda.fraction == 0.25
    cap(GPU, 1 << 62)
    assert cuda.fraction == 1.0


def test_a_cpu_has_neither_context_nor_cap(cuda):
    cap(CPU, 10)
    assert cuda.fraction is None
    assert context_nbytes(CPU) == 0


def test_the_peak_counts_from_its_beginning(cuda):
    cuda.allocated = 70
    meter = PeakMeter(GPU)
    meter.begin()
    cuda.peak = 100
    assert meter.peak_nbytes() == 30
