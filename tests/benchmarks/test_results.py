"""Committed results say what their own runs say, in every file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from benchmarks.compare import plot, summary, table, verdict
from benchmarks.compare_runtimes import chosen, parse

RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))


def test_there_are_results():
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_rows_and_verdicts_are_those_of_the_runs_and_the_texts_are_those_of_the_json(path):
    result = json.loads(path.read_text("utf-8"))
    args = parse(shlex.split(result["command"])[3:])
    runtimes = chosen(args)
    rows = summary.rows(runtimes, result["runs"])
    assert json.loads(json.dumps([row.to_json() for row in rows])) == result["rows"]
    assert summary.not_run(runtimes, result["runs"]) == result["not_run"]
    expected = verdict.verdicts(rows, result["device"] != "cpu") if args.model == "full" else []
    assert [vars(each) for each in expected] == result["verdicts"]
    assert path.with_suffix(".md").read_text("utf-8") == table.whole_table(result)
    assert path.with_suffix(".svg").read_text("utf-8") == plot.plot(result)
