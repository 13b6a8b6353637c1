"""Weights in slots and adapters together never take more than the budget."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BudgetError
from streamer.runtime.attach import StreamHandle
from streamer.runtime.whole_budget import with_reserved
from tests.streamer.tower import LAYER_NBYTES, LAYERS, Tower, stream_tower

X = torch.ones(1, 16)
REST_NBYTES = 512
SMALLEST = REST_NBYTES + LAYER_NBYTES


def adapter(nbytes: int) -> nn.Module:
    return nn.Linear(1, nbytes // 4, bias=False)


def on_device(handle: StreamHandle) -> int:
    return handle.device_nbytes + handle.in_memory_nbytes


@settings(deadline=None, max_examples=40)
@given(
    st.integers(SMALLEST, 3 * SMALLEST + LAYERS * LAYER_NBYTES),
    st.lists(st.one_of(st.integers(1, SMALLEST).map(lambda n: n * 4), st.none()), max_size=5),
)
def test_the_budget_holds_whatever_comes_and_goes(budget, sizes):
    tower = Tower()
    with torch.no_grad():
        want = tower(X)
    handle, _ = stream_tower(tower, StreamSettings(budget, workers=0))
    with handle:
        for size in sizes:
            if size is None:
                tower._modules.pop("adapter", None)
            else:
                tower.adapter = adapter(size)
            least = SMALLEST + (0 if "adapter" not in tower._modules else tower.adapter.weight.nbytes)
            assert handle.smallest_nbytes == least
            assert handle.budget_nbytes == budget
            if budget < least:
                with pytest.raises(BudgetError) as caught:
                    tower(X)
                assert (caught.value.budget_nbytes, caught.value.smallest_nbytes) == (budget, least)
                continue
            assert torch.equal(tower(X), want)
            assert on_device(handle) <= budget
            assert handle.total_nbytes == least + (LAYERS - 1) * LAYER_NBYTES


def test_a_budget_can_be_set_that_makes_room():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(SMALLEST, workers=0))
    with handle:
        tower.adapter = adapter(4000)
        with pytest.raises(BudgetError) as caught:
            handle.budget_nbytes = SMALLEST
        assert handle.budget_nbytes == SMALLEST
        handle.budget_nbytes = caught.value.smallest_nbytes
        tower(X)
        assert on_device(handle) == SMALLEST + 4000 == handle.budget_nbytes


def test_what_is_there_already_counts_from_the_start():
    tower = Tower()
    tower.adapter = adapter(4000)
    parameters = [(name, parameter.data_ptr()) for name, parameter in tower.named_parameters()]
    with pytest.raises(BudgetError) as caught:
        stream_with_adapter(tower, SMALLEST + 3999)
    assert caught.value.smallest_nbytes == SMALLEST + 4000
    assert [(name, parameter.data_ptr()) for name, parameter in tower.named_parameters()] == parameters
    with stream_with_adapter(tower, SMALLEST + 4000) as handle:
        tower(X)
        assert on_device(handle) == SMALLEST + 4000


def test_without_end_it_stays_so():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(workers=0))
    with handle:
        for _ in range(2):
            tower.adapter = adapter(4000)
            tower(X)
            assert handle.budget_nbytes == UNLIMITED


def test_an_error_about_weights_becomes_one_about_everything():
    error = with_reserved(BudgetError(5, 70, "layers.1", "budget"), 100)
    assert (error.budget_nbytes, error.smallest_nbytes, error.largest_block) == (105, 170, "layers.1")


def stream_with_adapter(tower: Tower, budget: int) -> StreamHandle:
    return stream_tower(tower, StreamSettings(budget, workers=0))[0]
