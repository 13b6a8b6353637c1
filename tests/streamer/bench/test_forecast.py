"""A forecast of the demo: its plans are the engine's, and its predictions make sense."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from streamer.bench.forecast import ASSUMED_LINK, Forecast, forecast
from streamer.config import StreamSettings
from streamer.errors import BudgetError
from streamer.models.open import PipelineOptions, open_unet
from streamer.models.unet import stream_unet
from streamer.models.unet_inputs import StepShape
from streamer.plan import Plan
from streamer.plan.packed import InflatedSizes
from streamer.processors import processors
from streamer.runtime.keeping import Keeping, keep_by
from streamer.sources.base import TensorInfo, WeightSource

SHAPE = StepShape(16, 16, 1)


@pytest.fixture(scope="module")
def opened(demo_lzr2):
    found = open_unet(
        PipelineOptions(weights=demo_lzr2, device="cpu", workers=1, ram_budget_nbytes=0), print, with_rest=False
    )
    yield found
    found.source.close()


@pytest.fixture(scope="module")
def of_demo(opened) -> Forecast:
    return forecast(opened, SHAPE, flops_per_second=1e9)


def test_the_plan_is_the_one_that_the_engine_makes(of_demo, demo_lzr2):
    other = open_unet(PipelineOptions(weights=demo_lzr2, device="cpu"), print)
    with stream_unet(other.unet, other.source, other.settings, other.device, other.dtype) as handle:
        assert of_demo.at(other.settings.vram_budget_nbytes).plan == handle.plan


def test_a_larger_budget_never_takes_longer_at_the_thresholds(of_demo):
    seconds = [of_demo.at(budget).prediction.step_seconds for budget in of_demo.thresholds()]
    assert seconds[-1] == pytest.approx(of_demo.compute.seconds)
    assert all(later <= earlier * 1.05 for earlier, later in itertools.pairwise(seconds))


def test_the_machine_is_this_one(of_demo):
    assert of_demo.machine.cores == processors()
    assert of_demo.machine.compute_threads == torch.get_num_threads()
    assert (of_demo.machine.workers, of_demo.machine.link) == (1, None)
    assert ASSUMED_LINK == 12e9


class Inflatable:
    """The same source, which says that it can give its tensors inflated."""

    def __init__(self, below: WeightSource) -> None:
        self._below = below

    def info(self, key: str) -> TensorInfo:
        return replace(self._below.info(key), inflated=InflatedSizes(1, 8, 8, 1, 0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def test_that_the_engine_may_pack_blocks_is_known(of_demo, opened):
    packing = replace(opened, settings=replace(opened.settings, device_decode=True))
    assert not forecast(packing, SHAPE, flops_per_second=1e9).packs  # the demo's weights have no smaller form
    assert not of_demo.packs
    smaller = Inflatable(opened.source)
    assert forecast(replace(packing, source=smaller), SHAPE, flops_per_second=1e9).packs
    assert not forecast(replace(opened, source=smaller), SHAPE, flops_per_second=1e9).packs


def test_below_the_smallest_threshold_there_is_no_plan(of_demo):
    with pytest.raises(BudgetError):
        of_demo.at(of_demo.thresholds()[0] - 1)


@pytest.mark.parametrize(("said", "packed"), [(None, True), (7, False)])
def test_what_nobody_said_of_host_memory_goes_by_the_budget_asked_about(demo_lzr2, monkeypatch, said, packed):
    options = PipelineOptions(weights=demo_lzr2, device="cpu", vram_budget_nbytes=24_000_000, ram_budget_nbytes=said)
    found, asked = open_unet(options, print), []

    def spied(plan: Plan, source: WeightSource, settings: StreamSettings) -> Keeping:
        asked.append(settings)
        return keep_by(plan, source, settings)

    try:
        of_default = forecast(found, SHAPE, flops_per_second=1e9)
        monkeypatch.setattr("streamer.bench.forecast.keep_by", spied)
        for budget in of_default.thresholds()[:2]:
            of_default.at(budget)
            expected = budget if packed else 0
            assert asked.pop() == replace(found.settings, packed_ram_nbytes=expected)
    finally:
        found.source.close()


def test_on_a_cpu_what_is_kept_needs_the_same_memory(opened):
    found = forecast(opened, SHAPE, flops_per_second=1e9, holds=True, beside_nbytes=1000)
    first, *_, last = found.thresholds()
    assert found.at(last).needed_nbytes == found.at(1 << 60).needed_nbytes == last
    keeping = replace(found, settings=replace(found.settings, ram_budget_nbytes=1 << 30))
    assert keeping.at(first).needed_nbytes == found.at(first).needed_nbytes + keeping.at(first).held_nbytes
    assert keeping.at(first).held_nbytes > 0
    elsewhere = replace(keeping, machine=replace(keeping.machine, compute_threads=0))
    assert elsewhere.at(first).needed_nbytes == found.at(first).needed_nbytes <= first


def test_the_budgets_that_fit_are_those_that_need_no_more_than_is_free(opened):
    found = forecast(opened, SHAPE, flops_per_second=1e9, holds=True)
    for settings in (found.settings, replace(found.settings, ram_budget_nbytes=1 << 30)):
        asked = replace(found, settings=settings)
        every = asked.thresholds()
        needed = [asked.at(budget).needed_nbytes for budget in every]
        for free in (needed[0], needed[len(every) // 2], needed[-1] - 1, needed[-1]):
            assert list(asked.fitting(free)) == [budget for budget, n in zip(every, needed, strict=True) if n <= free]
        assert asked.fitting(0) == every[:1]


def test_kept_weights_are_cheaper_the_second_time(demo_lzr2):
    found = open_unet(PipelineOptions(weights=demo_lzr2, device="cpu", ram_budget_nbytes=1 << 30), print)
    try:
        outlook = forecast(found, SHAPE, flops_per_second=1e9).at(10_000_000)
    finally:
        found.source.close()
    assert outlook.held_nbytes > 0
    assert len(outlook.keeping.kept) == sum(len(outlook.plan.blocks[b].tensors) for b in outlook.plan.streamed)
