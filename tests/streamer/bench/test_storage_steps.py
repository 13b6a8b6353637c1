"""Steps on a slower storage take longer, emulated ones as long as it needs, and advice follows from both."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from streamer.bench.free_memory import FreeMemory
from streamer.bench.storage_steps import advice, outlook_of
from streamer.bench.stream_sweep import AskedSize
from streamer.config import UNLIMITED
from streamer.errors import PartBudgetError
from streamer.models.open import PipelineOptions

SIZE = AskedSize(64, 64, 1.0)
AMPLE = FreeMemory(10**12, 10**12)


@pytest.fixture(scope="module")
def options(demo_lzr2):
    return PipelineOptions(weights=demo_lzr2, device="cpu", workers=1, ram_budget_nbytes=0)


@pytest.fixture(scope="module")
def outlook(options):
    made = outlook_of(options, (), SIZE, print, print)
    yield made
    made.close()


def test_budgets_are_from_the_smallest_to_the_one_for_everything(outlook):
    thresholds = outlook.forecast.thresholds()
    assert outlook.budgets[0] == thresholds[0]
    assert outlook.budgets[-1] == thresholds[-1]
    assert 3 <= len(outlook.budgets) <= 5


def test_a_slower_storage_is_never_faster_and_takes_at_least_what_it_reads(outlook):
    for slow, fast in itertools.pairwise((1e5, 1e6, 1e7, 1e12)):
        for one, other in zip(outlook.on(slow), outlook.on(fast), strict=True):
            assert one.outlook.prediction.step_seconds >= other.outlook.prediction.step_seconds * 0.999
            assert one.outlook.prediction.step_seconds >= one.outlook.prediction.disk_nbytes / slow * 0.999
            assert one.cached.prediction.disk_seconds == 0
    streamed = [step.outlook.prediction.disk_nbytes for step in outlook.on(1e6)]
    assert streamed == sorted(streamed, reverse=True)
    assert streamed[0] > streamed[-1] == 0


def test_emulated_steps_take_what_was_predicted_of_a_storage_that_bounds_them(outlook):
    least = replace(outlook, budgets=outlook.budgets[:1])
    speed = least.on(1e9)[0].outlook.prediction.disk_nbytes / 0.4
    told = []
    (step,) = least.measured(speed, 4, lambda *one: told.append(one))
    assert step.run is not None
    assert [(budget, number) for budget, number, _ in told] == [(least.budgets[0], n) for n in range(1, 6)]
    assert max(step.run.steps.later_seconds) > 0.35
    assert min(step.run.steps.later_seconds) < 0.8  # of several: a busy machine may hold one up
    assert step.outlook.prediction.step_seconds >= 0.4 * 0.999


def test_advice_is_the_smallest_budget_that_is_not_much_slower(outlook):
    steps = outlook.on(1e5)
    full = FreeMemory(AMPLE.device, 0)  # nothing can be kept beside
    best = advice(steps, 1e5, outlook.forecast, full)
    assert (best.vram_nbytes, best.ram_nbytes) == (outlook.budgets[-1], 0)
    same = [replace(steps[-1], budget_nbytes=budget) for budget in (5, 6)]
    assert advice(same, 1e5, outlook.forecast, AMPLE).vram_nbytes == 5


def test_the_time_is_that_of_the_memory_that_is_advised(outlook):
    disk = 1e5
    (step, *_) = outlook.on(disk)
    best = advice([step], disk, outlook.forecast, AMPLE)
    assert best.vram_nbytes == outlook.budgets[0]
    assert best.ram_nbytes > 0
    kept = replace(outlook.forecast, settings=replace(outlook.forecast.settings, ram_budget_nbytes=best.ram_nbytes))
    with_ram = replace(outlook, forecast=kept).on(disk)[0]
    assert best.step_seconds == with_ram.outlook.prediction.step_seconds
    assert best.cached_seconds == with_ram.cached.prediction.step_seconds
    assert with_ram.outlook.prediction.disk_nbytes == 0
    assert best.step_seconds < 0.1 * step.outlook.prediction.step_seconds


def test_memory_that_does_not_help_is_not_advised(outlook):
    decode = outlook.forecast.decode
    same = replace(outlook, forecast=replace(outlook.forecast, decode=replace(decode, held=decode.read)))
    best = advice(same.on(1e12)[:1], 1e12, same.forecast, AMPLE)
    assert best.ram_nbytes == 0


def test_memory_that_the_prediction_counts_on_is_part_of_the_advice(outlook):
    given = replace(outlook.forecast, settings=replace(outlook.forecast.settings, ram_budget_nbytes=7_000_000))
    best = advice(outlook.on(1e12)[:1], 1e12, given, FreeMemory(10**12, 0))
    assert best.ram_nbytes == 7_000_000


def test_an_unlimited_budget_is_no_larger_than_everything(outlook):
    everything = outlook.forecast.thresholds()[-1]
    smallest, *_, largest = outlook.on(1e5)
    steps = [smallest, replace(largest, budget_nbytes=UNLIMITED)]
    best = advice(steps, 1e5, outlook.forecast, FreeMemory(everything, 0))
    assert best.vram_nbytes == UNLIMITED


def test_advice_keeps_to_the_memory_that_is_free(outlook):
    steps = outlook.on(1e5)
    largest = advice(steps, 1e5, outlook.forecast, FreeMemory(10**12, 0))
    small = FreeMemory(device=outlook.budgets[1], host=outlook.budgets[1])
    best = advice(steps, 1e5, outlook.forecast, small)
    assert best.vram_nbytes <= outlook.budgets[1] < largest.vram_nbytes
    assert best.ram_nbytes == 0  # what is left is the system's
    none = advice(steps, 1e5, outlook.forecast, FreeMemory(0, 0))
    assert none.vram_nbytes == outlook.budgets[0]


def test_a_budget_that_cannot_work_is_refused(options):
    with pytest.raises(PartBudgetError):
        outlook_of(options, (1_000_000,), SIZE, print, print)
