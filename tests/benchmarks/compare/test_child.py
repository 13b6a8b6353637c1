"""What a child tells its parent."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.compare import counters
from benchmarks.compare.child import MARK, mark


def told(capsys) -> dict:
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(MARK)
    return json.loads(line[len(MARK) :])


def test_memory_that_was_counted_before_is_told_as_it_was_then(capsys):
    mark("ready", memory={"VmHWM": 7}, threads=2)
    assert told(capsys) == {"what": "ready", "memory": {"VmHWM": 7}, "threads": 2}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is counted")
def test_else_it_is_counted_now(capsys):
    mark("step", seconds=1)
    assert told(capsys)["memory"].keys() == counters.memory().keys() != set()
