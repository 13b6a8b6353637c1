"""The handle of a streamed module."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BudgetError, EngineClosedError
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


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("steps", [0, 2])
def test_what_is_released_is_in_memory_and_the_rest_streams_on(workers, steps):
    tower, x = Tower(), torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
    whole = {key: tensor.clone() for key, tensor in tower.state_dict().items()}
    handle, source = stream_tower(tower, StreamSettings(4096, 0, workers))
    with handle:
        for _ in range(steps):
            assert torch.equal(tower(x), want)
        weight = tower.layers[2].weight
        handle.release(tower.layers[2])
        assert tower.layers[2].weight is weight
        assert torch.equal(weight, whole["layers.2.weight"])
        assert handle.plan.total_nbytes == 512 + 5 * 1536
        assert handle.total_nbytes == 512 + 5 * 1536 + handle.in_memory_nbytes
        assert handle.in_memory_nbytes == 1024 + 64
        source.reads.clear()
        for _ in range(2):
            assert torch.equal(tower(x), want)
        assert not any(key.startswith("layers.2.") for key in source.reads)
        assert any(key.startswith("layers.3.") for key in source.reads)
        assert torch.equal(weight, whole["layers.2.weight"])
        with torch.no_grad():
            weight.zero_()
        assert not torch.equal(tower(x), want)
        handle.release(tower.layers[2])  # nothing is left to release
        handle.detach()
    assert not weight.any()  # detaching leaves what was changed
    assert torch.equal(tower.layers[3].weight, whole["layers.3.weight"])


def test_all_of_a_module_can_be_released_and_nothing_after_the_end():
    tower, x = Tower(), torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
    handle, source = stream_tower(tower, StreamSettings(8000, 0, 1))
    source.fails["layers.4.bias"] = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        handle.release(tower)
    source.fails.clear()
    assert torch.equal(tower(x), want)
    handle.release(tower)
    assert torch.equal(tower(x), want)
    assert handle.device_nbytes == 0
    handle.close()
    assert tower.scale.isfinite().all()
    other, _ = stream_tower(again := Tower(), StreamSettings(4096, 0, 1))
    other.close()
    with pytest.raises(EngineClosedError):
        other.release(again)
    assert again.scale.isnan().all()
