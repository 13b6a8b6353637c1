"""Engine, hooks and guards come together and go together."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BudgetError, EvictedWeightsError
from streamer.runtime.assembly import Assembly, Streaming, as_planned
from tests.streamer.tower import MemorySource, Tower

CPU = torch.device("cpu")


def streaming(tower: Tower, settings: StreamSettings) -> Streaming:
    return Streaming(tower, MemorySource(tower.state_dict()), settings, CPU, torch.float32, None, keeps_type=False)


def test_undone_the_module_is_its_own_again():
    tower, x = Tower(), torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
        weights = {name: parameter.clone() for name, parameter in tower.named_parameters()}
        how = streaming(tower, StreamSettings(512 + 1536, 0, 1))
        assembly = Assembly(how, tower.blocks(), range(1, 7), asleep=False)
        assert torch.equal(tower(x), want)
        with pytest.raises(EvictedWeightsError):
            tower.state_dict()
        assembly.undo()
        assert assembly.blocks == ()
        assert torch.isnan(tower.layers[0].weight).all()
        for name, parameter in tower.named_parameters():
            parameter.data = weights[name]
        assert torch.equal(tower(x), want)
        assert tower.half() is tower


def test_a_budget_that_cannot_work_leaves_the_module_as_it_is():
    tower = Tower()
    weight = tower.layers[0].weight.clone()
    with pytest.raises(BudgetError):
        Assembly(streaming(tower, StreamSettings(1)), tower.blocks(), range(1, 7), asleep=False)
    assert torch.equal(tower.layers[0].weight, weight)
    assert tower.state_dict()


def test_blocks_are_planned_in_their_numbering_with_the_sizes_of_the_type():
    tower = Tower()
    single, half = (as_planned(tower.blocks(), dtype) for dtype in (torch.float32, torch.float16))
    assert [block.name for block in single] == ["rest", *(f"layers.{i}" for i in range(6))]
    assert [block.pinned for block in single] == [True] + [False] * 6
    assert single[1].nbytes == 1024 + 512
    assert half[1].nbytes == 512 + 512
