"""An emulated storage gives bytes at its speed, first come first served."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.pace import SPEEDS, Pace, emulated_speed
from streamer.errors import SettingError
from tests.streamer.bench.made_up_clock import Clock


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


def test_reading_needs_no_torch():
    """It has to be imported after its threads' settings are made, which only weights need."""
    code = "import sys, streamer.bench.storage_measure, streamer.cli.bench_storage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
