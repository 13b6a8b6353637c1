"""What a child tells its parent."""

from __future__ import annotations

import json
import subprocess
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


def test_nothing_is_imported_before_a_runtime_that_it_may_import_itself():
    code = (
        "import sys; from benchmarks.compare import builders, child, counters, page_cache, setting;"
        "print({'torch', 'numpy', 'diffusers', 'accelerate', 'streamer', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
