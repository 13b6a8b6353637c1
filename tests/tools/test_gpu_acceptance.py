"""The acceptance script judges what it is given; that it runs at all is rehearsed on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from streamer.runtime.stats import Work

TOOL = Path(__file__).parents[2] / "tools" / "gpu_acceptance.py"


@pytest.fixture
def tool():
    sys.path.insert(0, str(TOOL.parent))
    try:
        import gpu_acceptance

        yield gpu_acceptance
    finally:
        sys.path.remove(str(TOOL.parent))


def found(**changes: object) -> dict:
    step = asdict(Work(uploaded_nbytes=12_000_000_000))
    return {
        "budget_nbytes": 2_000_000_000,
        "max_reserved_nbytes": 1_500_000_000,
        "outside_nbytes": 400_000_000,
        "step_seconds": [1.02, 1.04],
        "work": [step, step],
        "decode_threads": 4,
    } | changes


def test_memory_and_every_step_are_judged(tool):
    memory, overlap = tool.judged(found(), 0.9, 12e9, "2GB", rehearse=False)
    assert (memory.passed, memory.measured) == (True, "1.90 GB")
    assert overlap.passed is True
    assert overlap.measured == "0.96 (1.030 s a step, bound by link)"


def test_a_byte_over_the_budget_fails_and_one_slow_step_does(tool):
    memory, _ = tool.judged(found(outside_nbytes=500_000_001), 0.9, 12e9, "2GB", rehearse=False)
    assert memory.passed is False
    _, overlap = tool.judged(found(step_seconds=[1.02, 1.1]), 0.9, 12e9, "2GB", rehearse=False)
    assert overlap.passed is False


def test_a_draw_that_failed_is_a_row_that_fails(tool):
    (row,) = tool.judged({"failed": "Traceback\nOutOfMemoryError: CUDA"}, 0.9, 12e9, "2GB", rehearse=False)
    assert (row.passed, row.measured) == (False, "OutOfMemoryError: CUDA")


@pytest.mark.parametrize(
    ("program", "left", "told"),
    [
        ("print('loading'); print('{\"a\": 1}')", 60, {"a": 1}),
        ("raise SystemExit('out of memory')", 60, {"failed": "out of memory"}),
        ("import os; os._exit(3)", 60, {"failed": "ended with 3, without a word"}),
        ("import time; time.sleep(60)", 0.5, {"failed": "not done after 0 s"}),
        ("print('{}')", 0, {"failed": "not run: no time left"}),
    ],
)
def test_whatever_becomes_of_a_part_the_table_can_say_it(tool, program, left, told):
    outcome = tool.outcome([sys.executable, "-c", program], left)
    assert outcome == told
    if "failed" in told:
        (row,) = tool.judged(outcome, 0.9, None, "2GB", rehearse=False)
        assert (row.passed, row.measured) == (False, told["failed"])


def test_a_rehearsal_judges_no_time(tool):
    rows = tool.judged(found(step_seconds=[9.0, 9.0]), 0.9, 12e9, "2GB", rehearse=True)
    assert [row.passed for row in rows] == [True, None]


@pytest.mark.slow
def test_the_rehearsal_runs(tmp_path):
    done = subprocess.run([sys.executable, str(TOOL), "--rehearse", "--out", str(tmp_path)], capture_output=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("rehearsal-*.json")
    report = json.loads(path.read_text())
    rows = {row["what"]: row["passed"] for row in report["rows"]}
    assert rows["same pixels for every budget, container and thread count"] is True
    assert rows["same bits as plain torch"] is True
    assert len(report["draws"]) == 7
