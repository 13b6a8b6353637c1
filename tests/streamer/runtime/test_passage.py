"""Into a forward and out of it again, also where it fails."""

from __future__ import annotations

import threading

import pytest
import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import remove_hook_from_module

from streamer.config import StreamSettings
from streamer.errors import EvictedWeightsError
from streamer.runtime.gate import Gate
from tests.streamer.tower import Tower, stream_tower

X = torch.ones(1, 16)
SMALL = StreamSettings(4096, 0, 1)


def from_another_thread(function) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it still waits"
    return found[0]


def test_forwards_of_many_threads_come_one_after_the_other():
    tower = Tower()
    with torch.no_grad():
        want = {n: tower(n * X) for n in range(8)}
    handle, _ = stream_tower(tower, SMALL)
    made: dict[int, torch.Tensor] = {}

    def run(first: int) -> None:
        for n in range(first, 8, 4):
            made[n] = tower(n * X)

    with handle:
        threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert all(torch.equal(made[n], want[n]) for n in want)


def test_modules_that_share_a_gate_wait_for_each_other():
    gate, towers = Gate(), [Tower(), Tower()]
    inside, most, handles = [], [], []
    for tower in towers:
        handle, _ = stream_tower(tower, SMALL)
        handle.share_gate(gate)
        handles.append(handle)
        tower.layers[0].register_forward_hook(lambda *_: inside.append(1))
        tower.layers[5].register_forward_hook(lambda *_: most.append(len(inside)))
        tower.layers[5].register_forward_hook(lambda *_: inside.clear())
    threads = [threading.Thread(target=lambda t=t: [t(X) for _ in range(20)]) for t in towers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for handle in handles:
        handle.close()
    assert most == [1] * 40


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_forward_that_fails_or_is_interrupted_lets_others_in(fault):
    tower = Tower()
    handle, _ = stream_tower(tower, SMALL)

    def fail(*_: object) -> None:
        raise fault

    with handle:
        want = tower(X)
        broken = tower.layers[3].register_forward_hook(fail)
        with pytest.raises(fault):
            tower(X)
        broken.remove()
        assert torch.equal(from_another_thread(lambda: tower(X)), want)


def test_hooks_that_move_its_weights_about_are_refused_before_they_do():
    tower = Tower()
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        want = tower(X)
        cpu_offload_with_hook(tower, torch.device("cpu"))
        with pytest.raises(EvictedWeightsError, match="vram_budget"):
            tower(X)
        remove_hook_from_module(tower)
        assert torch.equal(from_another_thread(lambda: tower(X)), want)


def test_detached_nothing_is_in_the_way():
    tower = Tower()
    handle, _ = stream_tower(tower, SMALL)
    handle.detach()
    assert not tower._forward_pre_hooks
    assert not tower._forward_hooks
    assert "forward" not in tower.__dict__
