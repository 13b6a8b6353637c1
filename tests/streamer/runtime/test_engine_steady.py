"""The steady state: from the second step on the engine allocates nothing and computes nothing of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from streamer.config import UNLIMITED, StreamSettings
from tests.streamer.tower import LAYER_NBYTES, Tower, stream_tower


class Operations(TorchDispatchMode):
    """The names of the operations on the thread that entered it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("budget", [512 + LAYER_NBYTES, 512 + 3 * LAYER_NBYTES, UNLIMITED])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("staged", [False, True])
def test_the_compute_thread_runs_the_models_operations_and_no_others(budget, workers, staged):
    torch.manual_seed(0)
    tower, x = Tower(), torch.randn(3, 16)
    with torch.no_grad(), Operations() as plain:
        tower(x)
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, workers, staged))
    with handle, torch.no_grad():
        tower(x)
        for _ in range(4):
            with Operations() as streamed:
                tower(x)
            assert [name for name in streamed.names if name not in ("aten.detach.default",)] == plain.names


@pytest.mark.parametrize("budget", [512 + LAYER_NBYTES, 512 + 3 * LAYER_NBYTES, UNLIMITED])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("staged", [False, True])
def test_no_thread_allocates_tensors(budget, workers, staged, monkeypatch):
    torch.manual_seed(0)
    tower, x = Tower(), torch.randn(3, 16)
    handle, _ = stream_tower(tower, StreamSettings(budget, 0, workers, staged))
    with handle, torch.no_grad():
        tower(x)
        slab = handle._engine._slots._arena
        made: list[object] = []
        for name in ("empty", "zeros", "full", "empty_like", "zeros_like"):
            real = getattr(torch, name)
            monkeypatch.setattr(torch, name, lambda *a, real=real, **k: (made.append(a), real(*a, **k))[1])
        for _ in range(4):
            tower(x)
        assert made == []
        assert handle._engine._slots._arena is slab
        monkeypatch.undo()


@pytest.mark.parametrize("staged", [False, True])
def test_with_everything_there_no_thread_but_the_computing_one_is_woken(staged, monkeypatch):
    # Each that wakes asks for what the computing thread has: the lock, and the interpreter.
    tower, x = Tower(), torch.randn(3, 16)
    handle, _ = stream_tower(tower, StreamSettings(UNLIMITED, 0, 2, staged))
    woken: list[int] = []
    with handle, torch.no_grad():
        for _ in range(2):
            tower(x)
        monkeypatch.setattr(handle._engine._changed, "notify_all", lambda: woken.append(1))
        tower(x)
        assert woken == []
        monkeypatch.undo()
        tower.order = [5, 4, 3, 2, 1, 0]  # another order is heard of
        tower(x)
        assert handle.stats.totals.surprises > 0
