"""Budgets are run in turn, beside what is predicted for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.bench.free_memory import FreeMemory
from streamer.bench.own_process import run_here
from streamer.bench.stream_sweep import AskedSize, bound_seconds, run_at, sweep
from streamer.config import UNLIMITED
from streamer.errors import BenchProcessError, PartBudgetError
from streamer.models.open import PipelineOptions

SIZE = AskedSize(64, 64, 1.0)


@pytest.fixture(scope="module")
def options(demo_lzr2) -> PipelineOptions:
    return PipelineOptions(weights=demo_lzr2, device="cpu", workers=1, ram_budget_nbytes=0)


@pytest.fixture(scope="module")
def swept(options):
    said: list[str] = []
    steps: list[tuple[int, int, float]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("streamer.bench.stream_sweep.free_memory", lambda _: FreeMemory(10**11, 10**11))
        found = sweep(
            options, [UNLIMITED, 20_000_000], SIZE, 2, said.append, said.append,
            evenly=2, run=run_here, on_step=lambda *step: steps.append(step),
        )  # fmt: skip
    return found, said, steps


def test_every_budget_is_run_once_by_size_and_keeps_to_it(swept):
    found, _, steps = swept
    budgets = [run.budget_nbytes for run in found.runs]
    assert budgets == [found.forecast.thresholds()[0], 20_000_000, found.everything_nbytes, UNLIMITED]
    assert [(budget, number) for budget, number, _ in steps] == [(b, n) for b in budgets for n in (1, 2, 3)]
    for run in found.runs:
        assert len(run.steps.seconds) == 3
        assert run.steps.device_nbytes + found.size.beside_nbytes <= run.budget_nbytes
        assert run.steps.streamed_nbytes == run.outlook.plan.streamed_nbytes
    assert found.runs[0].steps.streamed_nbytes > found.runs[1].steps.streamed_nbytes > 0
    assert found.runs[2].steps.streamed_nbytes == found.runs[3].steps.streamed_nbytes == 0


def test_results_are_equal_and_bounds_are_the_slowest_resource(swept):
    found, _, _ = swept
    assert found.results_equal
    for run in found.runs:
        prediction = run.outlook.prediction
        assert run.bound_seconds == bound_seconds(run.outlook) == max(prediction.limits.values())
        assert run.limits.compute == found.forecast.compute.seconds
        assert run.overlap == pytest.approx(run.limits.seconds / run.steps.step_seconds)


def test_each_budget_is_told(swept):
    _, said, _ = swept
    assert "Streaming at 20MB ..." in said
    assert "Streaming at unlimited ..." in said


def test_without_budgets_it_is_the_options_own(options):
    found = sweep(options, [], SIZE, 1, print, print, run=run_here)
    assert [run.budget_nbytes for run in found.runs] == [16_000_000]


def test_a_budget_whose_steps_end_early_costs_no_other_its_result(options):
    def run(job, on_step):
        if job.options.vram_budget_nbytes == 20_000_000:
            raise BenchProcessError("ended by SIGKILL")
        return run_here(job, on_step)

    found = sweep(options, [16_000_000, 20_000_000, 24_000_000], SIZE, 1, print, print, run=run)
    assert [run.budget_nbytes for run in found.runs] == [16_000_000, 24_000_000]
    ((budget, reason),) = found.failed
    assert budget == 20_000_000
    assert "SIGKILL" in reason


@pytest.mark.parametrize("evenly", [1, 3])
def test_budgets_beyond_the_free_memory_are_left_out_and_that_is_told(options, monkeypatch, evenly):
    monkeypatch.setattr("streamer.bench.stream_sweep.free_memory", lambda _: FreeMemory(1_020_000_000, 1_020_000_000))
    said: list[str] = []
    found = sweep(options, [], SIZE, 1, said.append, print, evenly=evenly, run=run_here)
    assert len(found.runs) == evenly
    assert found.runs[0].budget_nbytes == found.forecast.thresholds()[0]
    last = found.runs[-1]
    assert last.budget_nbytes + last.outlook.held_nbytes <= 20_000_000  # a GB is for what isn't weights
    assert any("are left out, since they need more than the 20 MB that are free for weights" in line for line in said)


def test_a_budget_that_cannot_work_is_refused_before_anything_runs(options):
    with pytest.raises(PartBudgetError):
        sweep(options, [1_000_000, 20_000_000], SIZE, 1, print, print, on_step=lambda *_: pytest.fail("ran"))


def test_on_an_emulated_storage_every_step_waits_for_it(swept, options):
    found, _, _ = swept
    reference = found.runs[1]
    sizes = {key: reference_source_nbytes(found, key) for key in streamed_keys(reference)}
    speed = sum(sizes.values()) / 0.25  # a quarter of a second for what streams
    at_budget = replace(options, vram_budget_nbytes=20_000_000)
    run = run_at(at_budget, found.forecast, found.size, 2, disk=speed, run=run_here)
    assert run.steps.digest == reference.steps.digest
    assert run.outlook.prediction.disk_nbytes == sum(sizes.values())
    assert run.bound_seconds == pytest.approx(0.25)
    assert max(run.steps.later_seconds) > 0.2  # after a step that was held up, the next has less left to read
    assert run.outlook.prediction.step_seconds >= 0.25 * 0.999


def streamed_keys(run) -> list[str]:
    plan = run.outlook.plan
    return [place.key for block in plan.streamed for place in plan.blocks[block].tensors]


def reference_source_nbytes(found, key: str) -> int:
    return found.forecast.source.info(key).stored_nbytes
