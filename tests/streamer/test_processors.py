"""Which processors count."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from streamer.processors import processors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives every process all processors")
def test_only_those_that_the_process_may_use_count():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + (
        "from streamer.processors import processors; print(processors())"
    )
    assert int(subprocess.check_output([sys.executable, "-c", code])) == 1
    assert processors() == len(os.sched_getaffinity(0))


def test_where_the_system_does_not_tell_all_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for known, counted in ((None, 1), (6, 6)):
        monkeypatch.setattr(os, "cpu_count", lambda n=known: n)
        assert processors() == counted
