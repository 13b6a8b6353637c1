"""`streamer bench stream`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

from streamer.bench import stream_sweep
from streamer.bench.free_memory import FreeMemory
from streamer.bench.own_process import run_here
from streamer.errors import BenchProcessError

SMALL = ("--device", "cpu", "--steps", "1", "--guidance", "1", "--ram-budget", "0")


@pytest.fixture
def bench(streamer, demo_lzr2, monkeypatch):
    """Each budget's own process is tested where it is started."""
    monkeypatch.setattr("streamer.bench.stream_sweep.sweep", partial(stream_sweep.sweep, run=run_here))
    monkeypatch.setattr("streamer.bench.stream_sweep.free_memory", lambda _: FreeMemory(10**11, 10**11))
    return lambda *arguments: streamer("bench", "stream", demo_lzr2, *SMALL, *arguments)


def test_a_row_for_each_budget_and_a_plot(bench, tmp_path):
    done = bench("--vram-budget", "20MB", "--sweep", "2", "--plot", "plot.png")
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines() if line.split()[0].endswith("MB")]
    assert len(rows) == 3
    assert [row[0] for row in rows][1] == "20MB"
    assert "bit for bit" in done.out
    assert "20MB: step 2 of 2" in done.err
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1200, 640)


def test_json_has_every_run_in_one_line(bench):
    done = bench("--vram-budget", "20MB", "--vram-budget", "30MB", "--json")
    assert len(done.out.splitlines()) == 1
    found = json.loads(done.out)
    assert [run["vram_budget"] for run in found["runs"]] == [20_000_000, 30_000_000]
    assert found["results_equal"] is True
    for run in found["runs"]:
        assert len(run["all_seconds"]) == 2
        assert run["step_seconds"] == run["all_seconds"][1]
        assert run["bound_seconds"] > 0
        assert 0 <= run["stall_share"] <= 1
        assert run["device_nbytes"] + found["beside_nbytes"] <= run["vram_budget"]
    assert found["runs"][0]["streamed_nbytes"] > found["runs"][1]["streamed_nbytes"]


@pytest.mark.parametrize(("seconds", "said"), [(1e9, True), (0.0, False)])
def test_a_step_faster_than_its_bound_is_owned_up_to(bench, monkeypatch, seconds, said):
    monkeypatch.setattr(stream_sweep.BudgetRun, "bound_seconds", seconds)
    monkeypatch.setattr(stream_sweep.BudgetRun, "overlap", 0.5)
    done = bench("--vram-budget", "20MB")
    assert done.code == 0
    assert ("faster than their bound" in done.out) is said


def test_where_blocks_may_stay_packed_the_bound_is_said_to_be_none(bench, monkeypatch):
    whole = partial(stream_sweep.sweep, run=run_here)

    def packing(*arguments, **named):
        found = whole(*arguments, **named)
        return replace(found, forecast=replace(found.forecast, packs=True))

    monkeypatch.setattr("streamer.bench.stream_sweep.sweep", packing)
    monkeypatch.setattr(stream_sweep.BudgetRun, "bound_seconds", 1e9)
    monkeypatch.setattr(stream_sweep.BudgetRun, "overlap", 0.5)
    done = bench("--vram-budget", "20MB")
    assert done.code == 0
    assert "may move and stay packed" in done.out
    assert "steps may be faster than both" in done.out
    assert "faster than their bound" not in done.out  # of another reason


def test_results_that_differ_are_a_failure(bench, monkeypatch):
    monkeypatch.setattr("streamer.bench.stream_sweep.Sweep.results_equal", False)
    done = bench("--vram-budget", "20MB")
    assert done.code == 1
    assert "differ between budgets" in done.err


def test_what_was_measured_is_told_where_one_budget_fails_and_the_exit_code_says_so(bench, monkeypatch):
    def run(job, on_step):
        if job.options.vram_budget_nbytes == 30_000_000:
            raise BenchProcessError("ended by SIGKILL")
        return run_here(job, on_step)

    monkeypatch.setattr("streamer.bench.stream_sweep.sweep", partial(stream_sweep.sweep, run=run))
    done = bench("--vram-budget", "20MB", "--vram-budget", "30MB", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert [run["vram_budget"] for run in found["runs"]] == [20_000_000]
    assert [one["vram_budget"] for one in found["failed"]] == [30_000_000]
    assert "30MB: " in done.err
    assert "SIGKILL" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--plot", "a.svg"), ".png"),
        (("--vram-budget", "lots"), "is not a size"),
        (("--vram-budget", "1MB"), "The smallest that works is"),
        (("--width", "100"), "multiple of 8"),
        (("--device", "tpu"), "no device"),
    ],
)
def test_nonsense_is_refused_in_words(bench, arguments, said):
    done = bench(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
