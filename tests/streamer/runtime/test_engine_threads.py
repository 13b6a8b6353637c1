"""Several threads and one streamed module, one after the other; budgets set in the middle of a step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BudgetError
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
