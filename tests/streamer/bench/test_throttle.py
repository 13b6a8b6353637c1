"""An emulated storage gives bytes at its speed, first come first served, and the tensors as they are."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.throttle import SPEEDS, Pace, ThrottledSource, emulated_speed
from streamer.errors import SettingError
from tests.streamer.tower import MemorySource


class Clock:
    """Time that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_names_and_numbers_are_speeds():
    assert emulated_speed("HDD") == SPEEDS["hdd"]
    assert emulated_speed("250") == 250e6
    assert emulated_speed("0.5") == 500_000
    assert list(SPEEDS.values()) == sorted(SPEEDS.values())


@pytest.mark.parametrize("text", ["floppy", "", "0", "-3", "nan", "inf", "1e30"])
def test_nonsense_is_refused_with_what_there_is(text):
    with pytest.raises(SettingError, match="nvme4"):
        emulated_speed(text)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10_000)), max_size=20))
def test_the_device_is_never_faster_than_its_speed_and_never_idle_with_work(asks):
    clock = Clock()
    pace = Pace(100.0, clock, clock.sleep)
    free = clock.now
    for idle, nbytes in asks:
        clock.now += idle
        free = max(free, clock.now) + nbytes / 100
        assert pace.ask(nbytes) == pytest.approx(free)


def test_waiting_ends_when_it_is_due_even_where_sleeping_ends_early():
    clock = Clock()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        clock.now += seconds / 2 if len(naps) == 1 else seconds

    pace = Pace(100.0, clock, nap)
    pace.wait(pace.ask(200))
    assert clock.now == pytest.approx(102)
    assert len(naps) == 2
    pace.wait(50.0)
    assert len(naps) == 2


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
