"""The handle of a streamed module."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BudgetError
from streamer.runtime.attach import attach
from tests.streamer.tower import MemorySource, Tower, stream_tower


def test_the_handle_tells_what_is_where():
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(10_000, 2000, 1))
    with handle, torch.no_grad():
        tower(torch.ones(1, 16))
        assert handle.source_name == "memory"
        assert handle.device_nbytes <= 10_000
        assert handle.plan.total_nbytes == 512 + 6 * 1536
        assert 0 <= handle.held_nbytes <= 2000
    assert source.closed
    assert handle.held_nbytes == 0


def test_a_failure_closes_the_source():
    tower = Tower()
    source = MemorySource(tower.state_dict())
    cpu = torch.device("cpu")
    with pytest.raises(BudgetError):
        attach(tower, tower.blocks(), [1, 2, 3, 4, 5, 6], source, StreamSettings(1), cpu, torch.float32)
    assert source.closed


def test_half_precision_takes_half_the_room():
    tower = Tower()
    source = MemorySource(tower.state_dict())
    cpu = torch.device("cpu")
    order = [1, 2, 3, 4, 5, 6]
    with attach(tower, tower.blocks(), order, source, StreamSettings(), cpu, torch.float16) as handle:
        assert handle.plan.total_nbytes == 512 + 6 * (512 + 512)
        assert tower.layers[0].weight.dtype == torch.float16


@pytest.mark.parametrize("workers", [0, 2])
def test_a_released_part_is_ordinary_and_the_rest_streams_on(workers):
    torch.manual_seed(0)
    tower, x = Tower(), torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
        weight = tower.layers[2].weight.clone()
        handle, source = stream_tower(tower, StreamSettings(512 + 2 * 1536, 0, workers))
        with handle:
            assert torch.equal(tower(x), want)
            handle.release(tower.layers[2])
            handle.release(torch.nn.Linear(2, 2))
            assert torch.equal(tower.layers[2].weight, weight)
            assert handle.plan.total_nbytes == 512 + 5 * 1536
            source.reads.clear()
            for _ in range(3):
                assert torch.equal(tower(x), want)
            assert "layers.2.weight" not in source.reads
            assert handle.stats.totals.surprises == 0
            assert handle.device_nbytes <= handle.budget_nbytes == 512 + 2 * 1536
            tower.layers[2].weight.data.mul_(2)
            assert not torch.equal(tower(x), want)
            handle.release(tower)
            for _ in range(2):
                assert not torch.equal(tower(x), want)
            tower.layers[2].weight.data.mul_(0.5)
            assert torch.equal(tower(x), want)
            handle.detach()
            handle.release(tower)
            assert torch.equal(tower(x), want)


def test_a_release_that_cannot_read_changes_nothing():
    torch.manual_seed(0)
    tower, x = Tower(), torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
        handle, source = stream_tower(tower, StreamSettings(512 + 2 * 1536, 0, 1))
        with handle:
            source.fails["layers.2.bias"] = OSError("gone")
            with pytest.raises(OSError, match="gone"):
                handle.release(tower.layers[2])
            del source.fails["layers.2.bias"]
            assert handle.plan.total_nbytes == 512 + 6 * 1536
            assert torch.equal(tower(x), want)
