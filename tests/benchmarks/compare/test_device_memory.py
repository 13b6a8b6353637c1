"""What the driver's own tool tells of a device, here a script in its place."""

from __future__ import annotations

import sys
import time

import pytest

from benchmarks.compare.device_memory import DeviceMemory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script takes the tool's place")


def put_tool(tmp_path, monkeypatch, script):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_the_most_beyond_what_was_there_at_first_counts(tmp_path, monkeypatch):
    told = tmp_path / "told"
    loop = f"for n in 120 500 nonsense 130; do echo $n; done; touch {told}; exec sleep 60"
    put_tool(tmp_path, monkeypatch, f'case "$*" in *loop*) {loop};; esac; echo 100')
    memory = DeviceMemory()
    late = time.monotonic() + 30
    while not told.exists() and time.monotonic() < late:
        time.sleep(0.01)
    memory._listener.join(0.5)  # it goes on: this only lets it read
    assert memory.stop() == 400 << 20


@pytest.mark.parametrize("script", ["exit 9", "echo [N/A]"])
def test_where_it_does_not_tell_nothing_is_known(tmp_path, monkeypatch, script):
    put_tool(tmp_path, monkeypatch, script)
    assert DeviceMemory().stop() is None


def test_without_the_tool_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert DeviceMemory().stop() is None
