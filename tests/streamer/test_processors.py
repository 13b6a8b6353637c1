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


WAITING = "import os, sys; from streamer.processors import wait_without_spinning as w; {before}; w(); print({told})"


def spinning(before: str = "pass", **variables: str) -> str:
    code = WAITING.format(before=before, told="os.environ.get('GOMP_SPINCOUNT')")
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    return subprocess.check_output([sys.executable, "-c", code], env=clean | variables, text=True).strip()


def test_waiting_threads_give_up_soon_unless_told_otherwise_or_too_late():
    assert spinning() == "5000"
    assert spinning(GOMP_SPINCOUNT="7") == "7"
    assert spinning(OMP_WAIT_POLICY="active") == "None"
    assert spinning(before="sys.modules['torch'] = sys") == "None"
