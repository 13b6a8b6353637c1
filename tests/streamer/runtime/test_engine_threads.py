"""Several threads and one streamed module, one after the other; budgets set in the middle of a step."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BrokenStepError, BudgetError, EngineClosedError
from streamer.plan import make_plan
from streamer.runtime import engine
from tests.streamer.tower import LAYER_NBYTES, Tower, stream_tower

REST_NBYTES = 512
SETTINGS = StreamSettings(REST_NBYTES + 2 * LAYER_NBYTES, 0, 2)


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower()


X = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


def elsewhere(action: Callable[[], Any]) -> Any:
    """What the action returns, or raises, in another thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(action())
        except Exception as error:  # noqa: BLE001 - compared
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


def forward(tower: Tower) -> torch.Tensor:
    with torch.no_grad():
        return tower(X)


def test_any_thread_may_use_it_one_after_the_other(tower):
    want = forward(tower)
    handle, _ = stream_tower(tower, SETTINGS)
    with handle:
        for _ in range(3):
            assert torch.equal(elsewhere(lambda: forward(tower)), want)
            assert torch.equal(forward(tower), want)


def test_after_a_forward_that_raised_another_thread_may_go_on(tower):
    want = forward(tower)
    handle, _ = stream_tower(tower, SETTINGS)

    def fail(*_: object) -> None:
        raise KeyError("broken off")

    hook = tower.layers[2].register_forward_pre_hook(fail)
    with handle:
        with pytest.raises(KeyError):
            forward(tower)
        hook.remove()
        assert torch.equal(elsewhere(lambda: forward(tower)), want)
        assert torch.equal(forward(tower), want)


def test_a_smaller_budget_that_waits_is_not_lost_where_memory_runs_out(tower):
    whole, smaller = 512 + 6 * LAYER_NBYTES, 512 + 2 * LAYER_NBYTES
    handle, _ = stream_tower(tower, StreamSettings(whole, 0, 0))
    with handle:
        want = forward(tower)

        def runs_short(*_: object) -> None:
            handle.set_budget(smaller)
            assert handle._engine._halve()

        hook = tower.layers[5].register_forward_hook(runs_short)
        with contextlib.suppress(BrokenStepError):
            forward(tower)
        hook.remove()
        assert handle.budget_nbytes == smaller < whole // 2
        assert torch.equal(forward(tower), want)
        assert handle.device_nbytes <= smaller


@pytest.mark.parametrize("by", [elsewhere, lambda action: action()], ids=["another thread", "the same"])
def test_a_budget_set_in_the_middle_of_a_step_holds_from_the_next_on(tower, by):
    want = forward(tower)
    handle, _ = stream_tower(tower, SETTINGS)
    smaller = REST_NBYTES + LAYER_NBYTES

    def meanwhile(*_: object) -> None:
        by(lambda: handle.set_budget(smaller))
        assert handle.plan.budget_nbytes == SETTINGS.vram_budget_nbytes

    hook = tower.layers[2].register_forward_pre_hook(meanwhile)
    with handle:
        assert torch.equal(forward(tower), want)
        hook.remove()
        assert handle.budget_nbytes == smaller
        assert torch.equal(forward(tower), want)
        assert handle.device_nbytes <= smaller
        assert handle.plan.budget_nbytes == smaller
        with pytest.raises(BudgetError):
            handle.set_budget(1)
        assert torch.equal(forward(tower), want)


def test_a_budget_that_another_thread_sets_while_a_step_begins_is_not_lost(tower, monkeypatch):
    want = forward(tower)
    handle, _ = stream_tower(tower, SETTINGS)
    smaller = REST_NBYTES + LAYER_NBYTES
    setting = threading.Thread(target=handle.set_budget, args=(smaller,))

    def while_it_plans(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread() and not setting.ident:
            setting.start()
            setting.join(0.2)
        return make_plan(*arguments)

    with handle:
        hook = tower.layers[0].register_forward_pre_hook(lambda *_: handle.set_budget(REST_NBYTES + 3 * LAYER_NBYTES))
        assert torch.equal(forward(tower), want)
        hook.remove()
        monkeypatch.setattr(engine, "make_plan", while_it_plans)
        assert torch.equal(forward(tower), want)
        setting.join(30)
        assert handle.budget_nbytes == smaller
        assert torch.equal(forward(tower), want)
        assert handle.plan.budget_nbytes == smaller
        assert handle.device_nbytes <= smaller


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(("workers", "asleep", "outcome"), [(2, False, 7), (2, True, 7), (0, False, 0)])
def test_in_a_forked_child_it_says_that_nobody_loads_there_instead_of_waiting_for_ever(tower, workers, asleep, outcome):
    want = forward(tower)
    handle, _ = stream_tower(tower, StreamSettings(SETTINGS.vram_budget_nbytes, 0, workers))
    with handle:
        assert torch.equal(forward(tower), want)
        if asleep:
            handle.suspend()
        time.sleep(0.2)  # a lock that a worker holds would be held for ever in the child
        child = os.fork()
        if not child:
            try:
                os._exit(0 if torch.equal(forward(tower), want) else 8)
            except EngineClosedError as error:
                os._exit(7 if "Load the module in the child" in str(error) else 9)
            finally:
                os._exit(10)
        assert exit_code(child) == outcome
        assert torch.equal(forward(tower), want)


def exit_code(child: int) -> int | None:
    """None if it didn't end by itself."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
