"""An engine that sleeps: no device memory between its turns, and the same results after."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BrokenStepError
from streamer.runtime.attach import StreamHandle, attach
from tests.streamer.tower import LAYER_NBYTES, MemorySource, Tower

REST_NBYTES = 512


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


def asleep(tower: Tower, settings: StreamSettings) -> tuple[Tower, MemorySource, StreamHandle]:
    """The same tower streamed, and where its weights come from."""
    other, source = Tower(), MemorySource(tower.state_dict())
    blocks = other.blocks()
    order = range(1, len(blocks))
    handle = attach(other, blocks, order, source, settings, torch.device("cpu"), torch.float32, asleep=True)
    return other, source, handle


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("staged", [False, True])
def test_asleep_it_takes_nothing_until_the_first_step_and_suspended_until_the_next(tower, x, workers, staged):
    settings = StreamSettings(REST_NBYTES + 3 * LAYER_NBYTES, 0, workers, staged)
    other, source, handle = asleep(tower, settings)
    with handle, torch.no_grad():
        assert (handle.device_nbytes, source.reads) == (0, [])
        handle.budget_nbytes = REST_NBYTES + 2 * LAYER_NBYTES
        assert handle.plan.budget_nbytes == REST_NBYTES + 2 * LAYER_NBYTES  # told before it is in force
        for _ in range(3):
            assert torch.equal(other(x), tower(x))
            assert handle.device_nbytes == handle.plan.arena_nbytes
            handle.suspend()
            handle.suspend()
            reads = len(source.reads)
            time.sleep(0.05)
            assert (handle.device_nbytes, len(source.reads)) == (0, reads)
            assert all(parameter.isnan().all() for parameter in other.parameters())
    handle.suspend()
    assert handle.device_nbytes == 0


def test_it_waits_for_what_is_being_loaded_and_then_lets_go(tower, x):
    other, source, handle = asleep(tower, StreamSettings(UNLIMITED, 0, 1))
    with handle, torch.no_grad():
        other(x)
        handle.suspend()
        gate = source.gates["layers.5.weight"] = threading.Event()
        running = threading.Thread(target=other, args=(x,))
        running.start()
        while "layers.5.weight" not in source.reads[-2:]:
            time.sleep(0.001)
        threading.Timer(0.1, gate.set).start()
        running.join(30)
        assert not running.is_alive()
        handle.suspend()
        assert handle.device_nbytes == 0
        assert torch.equal(other(x), tower(x))


@pytest.mark.parametrize("workers", [0, 1])
def test_asleep_a_block_by_itself_is_an_error_and_not_endless(tower, x, workers):
    other, _, handle = asleep(tower, StreamSettings(UNLIMITED, 0, workers))
    with handle, torch.no_grad():
        for _ in range(2):
            with pytest.raises(BrokenStepError, match="no forward of it runs"):
                other.layers[0](x)
            assert torch.equal(other(x), tower(x))
            handle.suspend()


def test_a_plan_that_was_found_meanwhile_is_the_next_ones(tower, x):
    other, _, handle = asleep(tower, StreamSettings(REST_NBYTES + 2 * LAYER_NBYTES, 0, 1))
    tower.order = other.order = [5, 4, 3, 2, 1, 0]
    with handle, torch.no_grad():
        other(x)
        handle.suspend()
        surprises = handle.stats.totals.surprises
        assert torch.equal(other(x), tower(x))
        assert handle.stats.totals.surprises == surprises > 0
