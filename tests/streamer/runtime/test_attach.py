"""The handle of a streamed module."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import BudgetError, EngineClosedError
from streamer.runtime import attach as attach_module
from streamer.runtime import slots
from streamer.runtime.attach import StreamHandle, attach
from streamer.runtime.host_tiers import HostTiers
from tests.streamer.runtime.files import KINDS, open_tower, stream_file, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, MemorySource, Tower, prefetch_threads, stream_tower

CPU = torch.device("cpu")
BUDGET = 512 + 3 * LAYER_NBYTES


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


@pytest.mark.parametrize("end", [StreamHandle.close, StreamHandle.detach])
def test_what_an_ended_handle_had_is_given_back_last_and_once(monkeypatch, end):
    tower = Tower()
    source = MemorySource(tower.state_dict())
    handle = attach(tower, tower.blocks(), [1, 2, 3, 4, 5, 6], source, StreamSettings(10_000), CPU, torch.float32)
    closed: list[tuple[bool, int]] = []
    monkeypatch.setattr(attach_module, "give_back", lambda: closed.append((source.closed, handle.device_nbytes)))
    end(handle)
    handle.close()
    assert closed == [(True, 0)]


def test_a_failure_closes_the_source():
    tower = Tower()
    source = MemorySource(tower.state_dict())
    cpu = torch.device("cpu")
    with pytest.raises(BudgetError):
        attach(tower, tower.blocks(), [1, 2, 3, 4, 5, 6], source, StreamSettings(1), cpu, torch.float32)
    assert source.closed


def test_a_budget_that_cannot_work_leaves_what_does_not_stream_as_it_was():
    tower = Tower()
    tower.adapter = torch.nn.Linear(3, 5)
    tower.adapter.register_buffer("seen", torch.ones(2))
    before = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}
    source = MemorySource(tower.state_dict())
    with pytest.raises(BudgetError):
        attach(tower, tower.blocks(), [1, 2, 3, 4, 5, 6], source, StreamSettings(1), CPU, torch.float16)
    after = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}
    assert all(after[name] is tensor for name, tensor in before.items())
    assert tower.adapter.weight.dtype == torch.float32


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


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_began_in_inference_mode_goes_on_outside_of_it(asleep, workers, dtype):
    tower, x = Tower().to(dtype), torch.ones(1, 16, dtype=dtype)
    with torch.no_grad():
        want = tower(x)
    whole = {key: tensor.float() for key, tensor in tower.state_dict().items()}  # casting writes to the slots
    settings = StreamSettings(512 + 2 * LAYER_NBYTES, 0, workers)
    with torch.inference_mode():
        handle = attach(tower, tower.blocks(), range(1, 7), MemorySource(whole), settings, CPU, dtype, asleep=asleep)
        assert torch.equal(tower(x), want)
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(tower(x), want)
        with torch.inference_mode():
            assert torch.equal(tower(x), want)
    with torch.inference_mode():
        handle.detach()
    assert not any(parameter.is_inference() for parameter in tower.parameters())
    loss = tower(x).sum()
    loss.backward()
    assert torch.isfinite(tower.layers[0].weight.grad).all()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device_decode", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_staged_packed_and_spilled_in_inference_mode_and_with_another_default_device(
    kind, device_decode, workers, tmp_path
):
    tower, path = tower_in_file(kind, tmp_path)
    x = torch.randn(2, 16)
    with torch.no_grad():
        want = tower(x)
    settings = StreamSettings(BUDGET, 2048, workers, True, spill_dir=tmp_path / "spill", device_decode=device_decode)
    for mode in (torch.inference_mode(), torch.device("meta")):
        with mode:
            streamed, handle = stream_file(tower, open_tower(path), settings)
            assert torch.equal(streamed(x), want)
        assert torch.equal(streamed(x), want)
        with mode:
            assert torch.equal(streamed(x), want)
            handle.release(streamed.layers[1])
            handle.detach()
        for key, parameter in streamed.named_parameters():
            assert torch.equal(parameter, tower.get_parameter(key)), key


class Refused(Exception):
    """Raised on purpose."""


def streamed_with_spill(tower: Tower, path: Path, folder: Path) -> StreamHandle:
    settings = StreamSettings(BUDGET, 0, 2, spill_dir=folder)
    return attach(tower, tower.blocks(), range(1, 7), open_tower(path), settings, CPU, torch.float32)


def refusing(*_: Any, **__: Any) -> Any:
    raise Refused


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208 - only counted


@pytest.mark.parametrize("what", ["engine", "hooks", "guards", "adapters", "thread", "half way through"])
def test_what_fails_while_attaching_leaves_the_module_as_it_was(what, tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x = torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)
    before = [(parameter, parameter.data_ptr()) for parameter in tower.parameters()]
    own, files = set(vars(tower)), open_files()
    start, started = threading.Thread.start, []

    def start_one(thread: threading.Thread) -> None:
        if started:
            raise Refused
        started.append(thread)
        start(thread)

    with monkeypatch.context() as patch:
        if what == "thread":
            patch.setattr(threading.Thread, "start", start_one)
        elif what == "half way through":
            patch.setattr("streamer.runtime.bind._replaced", refusing)
        else:
            name = {"engine": "WholeBudget", "hooks": "StateDict", "guards": "Guards", "adapters": "AdapterLayers"}
            patch.setattr(attach_module, name[what], refusing)
        with pytest.raises(Refused):
            streamed_with_spill(tower, path, tmp_path / "spill")
    assert [(parameter, parameter.data_ptr()) for parameter in tower.parameters()] == before
    assert set(vars(tower)) == own
    assert prefetch_threads() == []
    assert open_files() == files
    with torch.no_grad():
        assert torch.equal(tower(x), want)
    with streamed_with_spill(tower, path, tmp_path / "spill"):
        assert torch.equal(tower(x), want)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError("can't allocate memory")])
def test_a_device_without_room_while_attaching_is_asked_again_by_the_first_forward(error, tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x = torch.ones(1, 16)
    with torch.no_grad():
        want = tower(x)

    def full(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(slots, "Arena", full)
        handle = streamed_with_spill(tower, path, tmp_path / "spill")
        assert handle.device_nbytes == 0
    with handle:
        assert torch.equal(tower(x), want)
        assert handle.device_nbytes == handle.plan.arena_nbytes
        assert handle.budget_nbytes == BUDGET


def test_interrupted_when_its_weights_are_gone_the_module_says_so_and_nothing_stays_open(tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    files = open_files()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(slots, "Arena", interrupted)
        with pytest.raises(KeyboardInterrupt):
            streamed_with_spill(tower, path, tmp_path / "spill")
    assert prefetch_threads() == []
    assert open_files() == files
    with pytest.raises(EngineClosedError):
        tower(torch.ones(1, 16))
    with streamed_with_spill(tower, path, tmp_path / "spill"):
        assert torch.isfinite(tower(torch.ones(1, 16))).all()


@pytest.mark.parametrize("end", ["close", "detach"])
def test_what_fails_while_closing_keeps_nothing_else_open(end, tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x, files = torch.ones(1, 16), open_files()
    with torch.no_grad():
        want = tower(x)
    handle = streamed_with_spill(tower, path, tmp_path / "spill")
    assert torch.equal(tower(x), want)
    let_go = HostTiers.close

    def fail_then(tiers: HostTiers) -> None:
        let_go(tiers)
        raise Refused

    monkeypatch.setattr("streamer.runtime.bind.Binder.unbind_all", refusing)
    monkeypatch.setattr(HostTiers, "close", fail_then)
    with pytest.raises(Refused):
        getattr(handle, end)()
    assert handle.is_closed
    assert handle.device_nbytes == 0
    assert prefetch_threads() == []
    assert open_files() == files
    if end == "detach":
        assert torch.equal(tower(x), want)
    handle.close()
