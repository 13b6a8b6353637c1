"""When weights may be loaded, and that results are the same, with fewer loads beside a computing block."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from streamer.config import StreamSettings
from streamer.runtime.pauses import Pauses
from tests.streamer.tower import LAYER_NBYTES, LAYERS, Tower, stream_tower

BUDGET = 4 * LAYER_NBYTES


def test_without_pauses_or_with_storage_to_be_asked_there_is_no_waiting():
    assert not Pauses(False).are_over
    pauses = Pauses(True)
    assert not pauses.are_over
    pauses.know(in_memory=True)
    assert pauses.are_over
    pauses.know(in_memory=False)
    assert not pauses.are_over


def test_a_pause_lasts_from_the_wait_for_a_block_until_that_block_is_there():
    pauses = Pauses(True)
    pauses.know(in_memory=True)
    assert pauses.begin(3)
    assert not pauses.begin(3)
    assert not pauses.are_over
    pauses.end(2)
    assert not pauses.are_over
    pauses.end(3)
    assert pauses.are_over


def turns_with_later_blocks_loaded(settings: StreamSettings) -> int:
    """In how many turns of the third step a block after the one that computes has been read by the turn's end."""
    tower, x = Tower(), torch.rand(2, 16)
    with torch.no_grad():
        want = tower(x)
    handle, source = stream_tower(tower, settings)
    ahead = 0

    def look(layer: int) -> None:
        nonlocal ahead
        time.sleep(0.05)
        last = int(source.reads[-1].split(".")[1])
        ahead += (last - layer) % LAYERS in (1, 2)

    with handle, torch.no_grad():
        for step in range(4):
            hooks = [
                layer.register_forward_pre_hook(lambda *_, i=i: look(i))
                for i, layer in enumerate(tower.layers)
                if step == 2
            ]
            assert torch.equal(tower(x), want)
            for hook in hooks:
                hook.remove()
    return ahead


def test_nothing_is_read_beside_a_block_that_computes_once_all_is_in_memory():
    in_pauses = StreamSettings(BUDGET, 0, 1, load_in_pauses=True)
    assert turns_with_later_blocks_loaded(in_pauses) == 0
    assert turns_with_later_blocks_loaded(replace(in_pauses, page_cache_nbytes=0)) > LAYERS // 2
    assert turns_with_later_blocks_loaded(replace(in_pauses, load_in_pauses=False)) > LAYERS // 2


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("budget", [2 * LAYER_NBYTES, BUDGET, 100 * LAYER_NBYTES])
def test_results_are_the_same_whatever_the_threads(workers, budget):
    tower, x = Tower(), torch.rand(2, 16)
    with torch.no_grad():
        want = tower(x)
        handle, _ = stream_tower(tower, StreamSettings(budget, 0, workers, load_in_pauses=True))
        with handle:
            for _ in range(20):
                assert torch.equal(tower(x), want)


def test_the_first_step_loads_ahead_and_a_new_plan_does_so_again():
    tower, x = Tower(), torch.rand(2, 16)
    handle, source = stream_tower(tower, StreamSettings(BUDGET, 0, 1, load_in_pauses=True))
    with handle, torch.no_grad():
        tower(x)
        time.sleep(0.1)
        after_first = len(source.reads)
        time.sleep(0.1)
        assert len(source.reads) == after_first
        tower(x)
        tower.order = list(reversed(range(LAYERS)))
        tower(x)  # in another order than planned
        tower(x)
        assert handle.stats.totals.replans == 1
        handle.budget = 3 * LAYER_NBYTES
        tower(x)
        tower(x)
