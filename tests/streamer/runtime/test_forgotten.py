"""A streamed module that nobody closed, collected while its own threads do whatever they do."""

from __future__ import annotations

import gc
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamer.config import StreamSettings
from streamer.runtime import forgotten
from streamer.runtime.schedule import Schedule
from streamer.tiers.host_cache import HostCache
from tests.streamer.tower import MemorySource, Tower, prefetch_threads, stream_tower


class CollectsOnce:
    """Runs the garbage collector in one of the workers, when it is told to, and nowhere else."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.reached = threading.Event()

    def __call__(self) -> None:
        if threading.current_thread().name.startswith("streamer-prefetch") and not self.reached.is_set():
            self.reached.set()
            assert self.told.wait(30)
            gc.collect()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, and that first."""

        def collected_before(*args: Any) -> Any:
            self()
            return function(*args)

        return collected_before

    def with_the_caches_lock(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As `before`, with a lock held that isn't to be taken twice."""

        def collected_before(cache: HostCache, key: str) -> Any:
            with cache._lock:
                self()
            return function(cache, key)

        return collected_before


@pytest.fixture
def only_when_told() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at", ["while it reads", "with the engine's lock", "with the cache's lock"])
@pytest.mark.usefixtures("only_when_told")
def test_collected_in_one_of_its_own_threads_all_of_them_end_and_the_file_is_closed(at, workers, monkeypatch):
    unraised: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unraised.append(told.exc_value))
    collecting = CollectsOnce()
    if at == "while it reads":
        monkeypatch.setattr(MemorySource, "_read", collecting.before(MemorySource._read))
    elif at == "with the engine's lock":
        monkeypatch.setattr(Schedule, "is_last", collecting.before(Schedule.is_last))
    else:
        monkeypatch.setattr(HostCache, "_kept_tensor", collecting.with_the_caches_lock(HostCache._kept_tensor))
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(workers=workers))
    there = weakref.ref(tower)
    assert collecting.reached.wait(30)
    del tower, handle
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collecting.told.set()
        deadline = time.monotonic() + 10
        while (prefetch_threads() or not source.closed) and time.monotonic() < deadline:
            time.sleep(0.005)
    assert there() is None
    assert prefetch_threads() == []
    assert source.closed
    assert unraised == []


@pytest.mark.usefixtures("only_when_told")
def test_collected_in_another_thread_it_has_ended_at_once():
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(workers=2))
    del tower, handle
    gc.collect()
    assert prefetch_threads() == []
    assert source.closed


@pytest.mark.usefixtures("only_when_told")
def test_what_it_had_is_given_back_last(monkeypatch):
    closed: list[bool] = []
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(8000, 0, 1))
    monkeypatch.setattr(forgotten, "give_back", lambda: closed.append(source.closed))
    del tower, handle
    gc.collect()
    assert closed == [True]
