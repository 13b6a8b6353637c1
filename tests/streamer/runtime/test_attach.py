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
