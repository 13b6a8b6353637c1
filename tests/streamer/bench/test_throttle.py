"""An emulated storage gives bytes at its speed, first come first served, and the tensors as they are."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from streamer.bench.pace import Pace
from streamer.bench.throttle import ThrottledSource
from tests.streamer.bench.made_up_clock import Clock
from tests.streamer.tower import MemorySource


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def below() -> MemorySource:
    return MemorySource({key: torch.rand(100) for key in ("a", "b")})  # 400 bytes each


@pytest.fixture
def source(below, clock) -> ThrottledSource:
    return ThrottledSource(below, Pace(100.0, clock, clock.sleep))


def read(source: ThrottledSource, key: str) -> torch.Tensor:
    out = torch.empty(100)
    source.read_into(key, out)
    return out


def test_a_read_takes_as_long_as_its_bytes_and_gives_the_same(source, below, clock):
    assert torch.equal(read(source, "a"), below.tensors["a"])
    assert clock.now == pytest.approx(104)


def test_what_was_read_stays_in_the_page_cache_until_it_is_dropped(source, clock):
    read(source, "a")
    read(source, "a")
    source.hold("a")
    assert clock.now == pytest.approx(104)
    source.wont_need("a")
    source.hold("a")
    assert clock.now == pytest.approx(108)


def test_what_was_asked_for_ahead_arrives_meanwhile(source, below, clock):
    source.will_need("a")
    source.will_need("b")
    source.will_need("a")
    clock.now += 5
    read(source, "a")
    assert clock.now == pytest.approx(105)
    read(source, "b")
    assert clock.now == pytest.approx(108)
    assert [key for hint, key in below.hints if hint == "will need"] == ["a", "b", "a"]


def test_everything_else_is_the_source_belows(source, below):
    assert (source.name, source.label) == (below.name, below.label)
    assert list(source.keys()) == ["a", "b"]
    assert source.mentioned() == below.mentioned()
    assert source.info("a") == below.info("a")
    source.close()
    assert below.closed


def test_waiting_is_told_as_reading(below):
    source = ThrottledSource(below, Pace(8_000.0))  # 50 ms
    told: list[tuple[float, int]] = []
    source.observe_reads(lambda start, end, nbytes: told.append((end - start, nbytes)))
    read(source, "a")
    waits = [seconds for seconds, nbytes in told if nbytes == 0]
    assert sum(waits) >= 0.049


def test_threads_share_the_device(below):
    source = ThrottledSource(below, Pace(4_000.0))  # 100 ms each
    started = time.perf_counter()
    threads = [threading.Thread(target=read, args=(source, key)) for key in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - started >= 0.199
