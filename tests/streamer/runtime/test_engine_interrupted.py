"""Forwards broken off at any point: the next one is right, or an error says why not; it never hangs or gives NaN."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BudgetError, EngineClosedError
from streamer.runtime.engine import Engine
from streamer.runtime.slots import DeviceSlots
from tests.streamer.tower import LAYER_NBYTES, LAYERS, Tower, stream_tower

SMALLEST = 512 + LAYER_NBYTES


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("budget", [SMALLEST, 512 + 3 * LAYER_NBYTES, UNLIMITED])
def test_while_waiting_for_any_block(tower, x, layer, budget):
    with torch.no_grad():
        want = tower(x)
        gate = threading.Event()
        handle, _ = stream_tower(tower, StreamSettings(budget, 0, 1), {f"layers.{layer}.weight": gate})
        with handle:
            timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                tower(x)
            timer.join()
            gate.set()
            time.sleep(0.02)
            for _ in range(2):
                assert torch.equal(tower(x), want)


@pytest.mark.parametrize(("owner", "method"), [(Engine, "_install"), (DeviceSlots, "_make_upload")])
@pytest.mark.parametrize("workers", [0, 2])
def test_while_another_plan_is_installed(tower, x, owner, method, workers, monkeypatch):
    with torch.no_grad():
        tower.order = [5, 4, 3, 2, 1, 0]
        want = tower(x)
        tower.order = sorted(tower.order)
        handle, _ = stream_tower(tower, StreamSettings(512 + 3 * LAYER_NBYTES, 0, workers))
        with handle:
            tower(x)
            tower.order = [5, 4, 3, 2, 1, 0]

            def interrupt(*_: object) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(owner, method, interrupt)
                with pytest.raises(KeyboardInterrupt):
                    tower(x)
            for _ in range(2):
                assert torch.equal(tower(x), want)


def test_half_way_through_pointing_parameters_away(tower, x):
    with torch.no_grad():
        tower.order = [5, 4, 3, 2, 1, 0]
        want = tower(x)
        tower.order = sorted(tower.order)
        handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, 0))
        with handle:
            tower(x)
            tower.order = [5, 4, 3, 2, 1, 0]
            binder = handle._engine._binder
            whole = binder._parameters[2]

            class Cut(list):
                def __iter__(self):
                    yield list.__getitem__(self, 0)
                    raise KeyboardInterrupt

            binder._parameters[2] = Cut(whole)
            with pytest.raises(KeyboardInterrupt):
                tower(x)
            binder._parameters[2] = whole
            assert torch.equal(tower(x), want)


@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_closed_by_another_thread_a_forward_is_an_error_and_not_nan(tower, x, layer):
    handle, _ = stream_tower(tower, StreamSettings(SMALLEST, 0, 1))

    def close(*_: object) -> None:
        thread = threading.Thread(target=handle.close)
        thread.start()
        thread.join()

    tower.layers[layer].register_forward_pre_hook(close)
    with torch.no_grad(), pytest.raises(EngineClosedError):
        tower(x)


def test_closing_does_not_wait_for_each_stuck_worker_in_turn(tower):
    gate = threading.Event()
    gates = {f"layers.{i}.weight": gate for i in range(LAYERS)} | {"scale": gate}
    handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, 4), gates)
    time.sleep(0.1)
    started = time.monotonic()
    with pytest.warns(RuntimeWarning, match="still reading"):
        handle.close()
    assert time.monotonic() - started < 2
    gate.set()


def test_a_budget_that_cannot_work_leaves_the_module_its_weights(tower, x):
    with torch.no_grad():
        want = tower(x)
        with pytest.raises(BudgetError):
            stream_tower(tower, StreamSettings(1))
        assert torch.equal(tower(x), want)
