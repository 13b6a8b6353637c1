"""Steps in a process of their own give the same result, and its end is noticed."""

from __future__ import annotations

import os
import signal

import pytest

from streamer.bench.own_process import Job, run_apart, run_here
from streamer.bench.step_size import StepSize
from streamer.errors import BenchProcessError
from streamer.models.open import PipelineOptions
from streamer.models.unet_inputs import StepShape

SIZE = StepSize(64, 64, StepShape(8, 8, 1), 2_000_000)


def job(weights, **options) -> Job:
    options = {"vram_budget_nbytes": 20_000_000, "device": "cpu", "workers": 1, **options}
    return Job(PipelineOptions(weights=weights, **options), SIZE, 2)


def test_another_process_gives_the_same_with_its_own_memory(demo_lzr2):
    told: list[tuple[int, float]] = []
    apart = run_apart(job(demo_lzr2), lambda *step: told.append(step))
    here = run_here(job(demo_lzr2))
    assert apart.steps.digest == here.steps.digest
    assert apart.settings.vram_budget_nbytes == here.settings.vram_budget_nbytes == 20_000_000
    assert apart.steps.device_nbytes == here.steps.device_nbytes
    assert told == list(enumerate(apart.steps.seconds, 1))
    assert apart.steps.peak_resident_nbytes > 20_000_000


def test_what_goes_wrong_there_is_told_here(tmp_path):
    with pytest.raises(BenchProcessError, match=r"gone\.lzr2"):
        run_apart(job(tmp_path / "gone.lzr2"))


def test_a_process_that_is_killed_is_told(demo_lzr2, monkeypatch):
    monkeypatch.setattr("streamer.bench.own_process._child", _killed)
    with pytest.raises(BenchProcessError, match="SIGKILL, as the system does when memory runs out"):
        run_apart(job(demo_lzr2))


def _killed(_job, _pipe) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
