"""Into a forward and out of it again, also where it fails."""

from __future__ import annotations

import contextlib
import threading

import pytest
import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import remove_hook_from_module
from torch.multiprocessing.reductions import StorageWeakRef

from streamer.config import StreamSettings
from streamer.errors import EvictedWeightsError
from streamer.runtime.attach import attach
from streamer.runtime.engine import Engine
from streamer.runtime.gate import Gate
from streamer.runtime.torch_names import CALL, COMPILED_CALL, TorchDispatchMode
from tests.streamer.tower import MemorySource, Tower, stream_tower

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


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["begin_step", "end_step"])
def test_broken_off_while_a_step_begins_or_ends_it_lets_others_in(method, fault, monkeypatch):
    tower, breaks = Tower(), []
    whole = getattr(Engine, method)

    def broken(engine: Engine) -> None:
        if breaks:
            raise breaks.pop()
        whole(engine)

    monkeypatch.setattr(Engine, method, broken)
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        want = tower(X)
        breaks.append(fault)
        with pytest.raises(fault):
            tower(X)
        assert torch.equal(from_another_thread(lambda: tower(X)), want)


def test_interrupted_before_a_step_begins_it_lets_others_in():
    tower, breaks = Tower(), [KeyboardInterrupt()]
    source = MemorySource(dict(tower.named_parameters()))

    def on_forward(*_: object) -> None:
        if breaks:
            raise breaks.pop()

    device = torch.device("cpu")
    blocks = tower.blocks()
    with attach(tower, blocks, range(1, 7), source, SMALL, device, torch.float32, on_forward=on_forward):
        with pytest.raises(KeyboardInterrupt):
            tower(X)
        assert torch.isfinite(from_another_thread(lambda: tower(X))).all()


def require_others_let_in(tower: Tower, register: str = "register_forward_pre_hook") -> None:
    """After a forward that is interrupted in a hook of somebody else."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    want = tower(X)
    hook = getattr(tower, register)(interrupt)
    with pytest.raises(KeyboardInterrupt):
        tower(X)
    hook.remove()
    assert torch.equal(from_another_thread(lambda: tower(X)), want)


@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_forward_hook"])
def test_interrupted_in_a_hook_of_somebody_else_it_lets_others_in(register):
    tower = Tower()
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        require_others_let_in(tower, register)


def test_a_module_that_was_compiled_before_lets_others_in():
    tower = Tower()
    tower.compile(backend="eager")
    compiled = tower.__dict__[COMPILED_CALL]
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        require_others_let_in(tower)
        handle.detach()
    assert tower.__dict__[COMPILED_CALL] is compiled


def test_compiled_while_it_streams_and_streamed_again_it_lets_others_in():
    tower = Tower()
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        tower.compile(backend="eager")
        require_others_let_in(tower)
        handle.detach()
    seen = []
    tower.layers[0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_cache_enabled()))
    tower(X)
    assert seen == [True]  # an ordinary module again
    handle, _ = stream_tower(tower, SMALL)
    with handle:
        require_others_let_in(tower)


class Casts(TorchDispatchMode):
    """Notes the memory that casts take, without keeping it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[StorageWeakRef] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.made.append(StorageWeakRef(result.untyped_storage()))
        return result


@pytest.mark.parametrize("budget", [4096, 1_000_000])
def test_autocast_gives_what_it_gives_for_a_whole_module_and_keeps_no_copies_of_weights(budget):
    tower = Tower()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        want = tower(X)
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, 1))
    with handle, torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            with Casts() as casts:
                made = tower(X)
            assert torch.equal(made, want)
            assert len(casts.made) >= 12
            assert all(storage.expired() for storage in casts.made)


def test_under_autocast_weights_that_come_anew_are_those_computed_with():
    tower, changed = Tower(), Tower()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        want = changed(X)
        tower(X)  # kept by autocast, for these very parameters
        tower.requires_grad_(True)
        handle, source = stream_tower(tower, SMALL)
        with handle:
            tower(X)
            source.tensors = {key: tensor.detach().clone() for key, tensor in changed.named_parameters()}
            handle.suspend()
            assert torch.equal(tower(X), want)


@pytest.mark.parametrize("fault", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("setting", [False, True])
def test_autocast_is_set_as_before_also_when_a_forward_is_broken_off(setting, fault):
    tower, seen = Tower(), []
    handle, _ = stream_tower(tower, SMALL)

    def look(*_: object) -> None:
        seen.append(torch.is_autocast_cache_enabled())
        if fault is not None:
            raise fault

    tower.layers[3].register_forward_pre_hook(look)
    with handle, torch.autocast("cpu", torch.bfloat16, cache_enabled=setting):
        with contextlib.nullcontext() if fault is None else pytest.raises(fault):
            tower(X)
        assert torch.is_autocast_cache_enabled() is setting
    assert seen == [False]


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
    assert not {"forward", CALL} & tower.__dict__.keys()
