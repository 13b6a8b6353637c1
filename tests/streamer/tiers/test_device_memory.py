"""The cap and the counts, with a device that isn't there; tests/gpu has the same with one that is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from streamer.tiers.device_memory import (
    CONTEXT_NBYTES,
    KERNELS_NBYTES,
    Cap,
    Context,
    PeakMeter,
    context_nbytes,
    taken_nbytes,
    tensors_nbytes,
)

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
CURRENT = torch.device("cuda")


@pytest.fixture
def cuda(monkeypatch) -> SimpleNamespace:
    """What torch.cuda would answer, and what it was told; as strict about devices as torch is."""
    state = SimpleNamespace(free=5_600_000_000, total=6_000_000_000, reserved=0, allocated=0, fraction=1.0, emptied=0)
    state.peak = state.reserved_peak = 0

    def number(device: torch.device | int) -> None:
        if isinstance(device, torch.device) and device.index is None:
            raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")

    def set_fraction(fraction: float, device: torch.device | int) -> None:
        number(device)
        assert 0 < fraction <= 1
        state.fraction = fraction

    def fraction(device: torch.device | int) -> float:
        number(device)
        return state.fraction

    def reset(device: torch.device) -> None:
        state.peak, state.reserved_peak = state.allocated, state.reserved

    def empty() -> None:
        state.emptied += 1

    answers = {
        "mem_get_info": lambda device: (state.free, state.total),
        "memory_reserved": lambda device: state.reserved,
        "memory_allocated": lambda device: state.allocated,
        "max_memory_allocated": lambda device: state.peak,
        "max_memory_reserved": lambda device: state.reserved_peak,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=state.total),
        "set_per_process_memory_fraction": set_fraction,
        "get_per_process_memory_fraction": fraction,
        "current_device": lambda: 0,
        "reset_peak_memory_stats": reset,
        "empty_cache": empty,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer, raising=False)
    return state


def test_the_context_is_what_is_gone_and_no_tensors_and_room_for_kernels(cuda):
    assert context_nbytes(GPU) == 400_000_000 + KERNELS_NBYTES
    cuda.reserved = 100_000_000
    assert context_nbytes(GPU) == 300_000_000 + KERNELS_NBYTES


@pytest.mark.parametrize("free", [1_000_000_000, 6_000_000_000])
def test_what_others_take_is_not_counted_and_a_context_always_is(cuda, free):
    cuda.free = free
    assert context_nbytes(GPU) == CONTEXT_NBYTES + KERNELS_NBYTES


def test_a_context_that_grows_by_more_than_was_left_for_it_is_noticed(cuda):
    context = Context(GPU)
    assert context.nbytes == 400_000_000 + KERNELS_NBYTES
    cuda.free -= KERNELS_NBYTES
    assert not context.look_again()
    cuda.free -= 10_000_000
    assert context.look_again()
    assert not context.look_again()
    assert context.nbytes == 410_000_000 + KERNELS_NBYTES
    cuda.free += 50_000_000  # it doesn't shrink
    assert not context.look_again()
    cuda.free = 0  # others
    context.look_again()
    assert context.nbytes == 400_000_000 + CONTEXT_NBYTES


def test_what_is_taken_and_what_is_free_is_all_there_is(cuda):
    # A budget of both fits into the device, with the kernels that are yet to come out of what is free.
    cuda.reserved = 100_000_000
    assert taken_nbytes(GPU) + cuda.free == cuda.total
    assert taken_nbytes(CPU) == 0


def test_the_cap_is_a_share_of_all_memory_and_never_more_than_all(cuda):
    cap = Cap(GPU)
    cap.set(1_500_000_000)
    assert cuda.fraction == 0.25
    cap.set(1 << 62)
    assert cuda.fraction == 1.0
    cap.set(-5)  # a budget below the context
    assert 0 < cuda.fraction < 1e-6
    cap.lift()
    cap.lift()
    assert cuda.fraction == 1.0


def test_the_current_device_can_be_capped_too(cuda):
    cap = Cap(CURRENT)
    cap.set(3_000_000_000)
    assert cuda.fraction == 0.5
    cap.lift()


@pytest.mark.parametrize("first", [0, 1])
def test_two_have_what_both_may_take_and_the_last_leaves_what_was_there(cuda, first):
    cuda.fraction = 0.75  # the program's own
    caps = [Cap(GPU), Cap(GPU)]
    assert all(cap.is_alone for cap in caps)
    caps[0].set(1_500_000_000)
    assert caps[0].is_alone
    assert not caps[1].is_alone
    caps[1].set(600_000_000)
    assert cuda.fraction == 0.35
    caps[first].lift()
    assert cuda.fraction == [0.1, 0.25][first]
    caps[1 - first].lift()
    assert cuda.fraction == 0.75


def test_a_cpu_has_neither_context_nor_cap(cuda):
    cap = Cap(CPU)
    cap.set(10)
    cap.lift()
    assert cap.is_alone
    assert cuda.fraction == 1.0
    assert (context_nbytes(CPU), Context(CPU).nbytes, tensors_nbytes(CPU)) == (0, 0, 0)
    assert not Context(CPU).look_again()


def test_what_is_needed_is_what_is_reserved_beyond_the_tensors_of_before(cuda):
    cuda.allocated, cuda.reserved = 70, 90
    meter = PeakMeter(GPU)
    meter.begin()
    assert cuda.emptied == 1
    cuda.reserved_peak = 130
    assert meter.needed_nbytes() == 60


def test_measuring_forgets_no_peak(cuda):
    meter = PeakMeter(GPU)
    cuda.peak, cuda.reserved_peak = 500, 700
    meter.begin()
    assert (cuda.peak, cuda.reserved_peak) == (0, 0)
    assert (meter.most_allocated_nbytes(), meter.most_reserved_nbytes()) == (500, 700)
    cuda.peak, cuda.reserved_peak = 100, 900
    meter.begin()
    assert (meter.most_allocated_nbytes(), meter.most_reserved_nbytes()) == (500, 900)
    cuda.peak = 501
    assert meter.most_allocated_nbytes() == 501
