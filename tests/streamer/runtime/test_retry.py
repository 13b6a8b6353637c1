"""A forward that runs out of device memory is run once more with fewer weights, and told of if that isn't enough."""

from __future__ import annotations

import gc
import inspect
import weakref

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BudgetError, DeviceMemoryError
from streamer.runtime.retry import retried_once
from tests.streamer.tower import LAYER_NBYTES, LAYERS, WIDTH, Tower, stream_tower

SMALLEST = 512 + LAYER_NBYTES
WHOLE = 512 + LAYERS * LAYER_NBYTES


class Scarce(torch.nn.Module):
    """A layer that runs out of memory as often as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = 0
        self.seen: list[weakref.ref[torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Nothing of a forward that failed may be alive when the next one runs.
        gc.collect()
        assert all(old() is None for old in self.seen)
        activation = x + 0
        self.seen = [weakref.ref(activation)]
        if self.faults:
            self.faults -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return activation


class ScarceTower(Tower):
    def __init__(self) -> None:
        super().__init__()
        self.scarce = Scarce()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.scale
        for number, i in enumerate(self.order):
            x = torch.tanh(self.layers[i](x))
            if number == 3:
                x = self.scarce(x)
        return x


@pytest.fixture
def tower() -> ScarceTower:
    torch.manual_seed(0)
    return ScarceTower()


X = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_result_comes_with_half_the_weights(tower, workers):
    with torch.no_grad():
        want = tower(X)
        handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, workers))
        with handle:
            assert torch.equal(tower(X), want)
            assert handle.device_nbytes == WHOLE
            tower.scarce.faults = 1
            assert torch.equal(tower(X), want)
            assert handle.device_nbytes <= WHOLE // 2 == handle.budget_nbytes
            tower.order = [5, 4, 3, 2, 1, 0]  # another plan, still within what is left
            tower(X)
            assert handle.device_nbytes <= WHOLE // 2
            assert handle.stats.totals.steps == 3


def test_twice_in_one_forward_is_an_error_and_the_next_forward_works(tower):
    with torch.no_grad():
        want = tower(X)
        handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, 1))
        with handle:
            tower.scarce.faults = 2
            with pytest.raises(DeviceMemoryError, match=r"Tried to allocate 20.00 MiB") as told:
                tower(X)
            assert told.value.weights_nbytes == WHOLE // 2
            assert told.value.__context__ is None
            assert torch.equal(tower(X), want)


def test_with_as_few_weights_as_can_be_there_is_nothing_to_let_go_of(tower):
    with torch.no_grad():
        want = tower(X)
        handle, _ = stream_tower(tower, StreamSettings(SMALLEST, 0, 1))
        with handle:
            tower.scarce.faults = 1
            with pytest.raises(DeviceMemoryError, match="as few weights") as told:
                tower(X)
            assert told.value.weights_nbytes is None
            assert torch.equal(tower(X), want)


def test_the_forwards_signature_stays(tower):
    before = inspect.signature(tower.forward)
    handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, 1))
    with handle:
        assert inspect.signature(tower.forward) == before


def test_the_budget_may_change_between_steps(tower):
    with torch.no_grad():
        want = tower(X)
        handle, source = stream_tower(tower, StreamSettings(SMALLEST, 10**6, 1))
        with handle:
            for budget in (SMALLEST, WHOLE, SMALLEST + LAYER_NBYTES, WHOLE - 1, SMALLEST):
                handle.budget_nbytes = budget
                for _ in range(2):
                    assert torch.equal(tower(X), want)
                    assert handle.device_nbytes <= budget
                assert handle.plan.budget_nbytes == budget
            with pytest.raises(BudgetError):
                handle.budget_nbytes = SMALLEST - 512
            assert handle.budget_nbytes == SMALLEST
            assert torch.equal(tower(X), want)
            assert handle.held_nbytes == sum(t.nbytes for key, t in source.tensors.items() if key != "scale")


def test_no_gradients_are_recorded():
    layer = torch.nn.Linear(2, 2)
    forward = retried_once(layer, lambda: None)
    assert layer(torch.ones(1, 2)).requires_grad
    assert not forward(torch.ones(1, 2)).requires_grad


def test_lists_that_a_forward_empties_are_whole_again_for_the_second_try():
    seen = []

    def forward(rows: list[int], *, more: dict[str, list[int]]) -> str:
        seen.append((rows.pop(0), more["rows"].pop(0)))
        if len(seen) == 1:
            raise torch.OutOfMemoryError
        return "done"

    rows, more = [1, 2], {"rows": [3]}
    assert retried_once(forward, lambda: 1000)(rows, more=more) == "done"
    assert seen == [(1, 3), (1, 3)]
    assert (rows, more) == ([1, 2], {"rows": [3]})
