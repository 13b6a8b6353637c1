"""What Linux counts: memory and bytes read."""

from __future__ import annotations

import sys

import pytest

from benchmarks.compare.counters import forget_peak, memory, reads

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
