"""What the system counts: memory, bytes read, processors' time that others got."""

from __future__ import annotations

import sys

import pytest

from benchmarks.compare import counters
from benchmarks.compare.counters import forget_peak, memory, reads, stolen_seconds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")


def test_memory_of_this_process():
    held = bytearray(50_000_000)
    held[::4096] = b"x" * len(held[::4096])
    found = memory()
    assert found["RssAnon"] > 50e6
    assert found["RssAnon"] + found["RssFile"] <= found["VmRSS"] * 1.01 + 10e6
    assert found["VmRSS"] <= found["VmHWM"] + 4e6


def test_a_peak_can_be_forgotten():
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    before = memory()["VmHWM"]
    del held
    if not forget_peak():
        pytest.skip("this system doesn't let it")
    assert memory()["VmHWM"] < before - 200e6


def test_bytes_that_read_calls_gave(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    before = reads()["rchar"]
    path.read_bytes()
    assert 1_000_000 <= reads()["rchar"] - before < 1_100_000


def test_a_process_that_is_not_there_has_none():
    assert memory(2**22 + 1) == {}
    assert reads(2**22 + 1) == {}


def test_stolen_seconds_are_those_of_all_processors_together(monkeypatch):
    told = "cpu  1 2 3 4 5 6 7 250 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"
    monkeypatch.setattr(counters, "_read", lambda process, name: told)
    monkeypatch.setattr(counters.os, "sysconf", lambda name: 100)
    assert stolen_seconds() == 2.5


@pytest.mark.parametrize("text", ["", "cpu  1 2 3 4", "intr 1 2 3 4 5 6 7 8 9"])
def test_where_it_is_not_told_nothing_is_known(monkeypatch, text):
    monkeypatch.setattr(counters, "_read", lambda process, name: text)
    assert stolen_seconds() is None


def test_on_this_system_they_never_go_back():
    before = stolen_seconds()
    assert before is not None
    assert 0 <= before <= (stolen_seconds() or 0)


def test_where_there_is_no_proc_the_most_so_far_of_this_process_is_known(monkeypatch):
    told = memory()["VmHWM"]
    monkeypatch.setattr(counters, "_read", lambda process, name: "")
    assert memory().keys() == {"VmHWM"}
    assert memory()["VmHWM"] >= 0.9 * told
    assert memory(1) == {}
