"""What only a device with an allocator of its own asks of the parts: the cap, and activations that were measured."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from streamer.config import UNLIMITED
from streamer.models import parts as parts_module
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request, StreamedPipeline

REQUEST = Request("red apple", None, seed=3, steps=3, guidance=2.5, width=64, height=64)
BUDGET = 20_000_000


class RecordedCap:
    """Notes what it is told."""

    def __init__(self, _: object) -> None:
        self.is_alone = True
        self.told: list[int | None] = []
        caps.append(self)

    def set(self, nbytes: int) -> None:
        self.told.append(nbytes)

    def lift(self) -> None:
        self.told.append(None)


caps: list[RecordedCap] = []


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    caps.clear()
    monkeypatch.setattr(parts_module, "Cap", RecordedCap)


def opened(weights, budget: int = BUDGET) -> StreamedPipeline:
    options = PipelineOptions(weights=weights, device="cpu", vram_budget_nbytes=budget, workers=1)
    return open_pipeline(options, lambda line: None)


@pytest.mark.parametrize("budget", [BUDGET, UNLIMITED])
def test_the_cap_is_the_budget_while_the_parts_are_there(demo_lzr2, budget):
    with opened(demo_lzr2, budget) as pipeline:
        assert caps[0].told == [budget]
        pipeline.parts.budget_nbytes = 15_000_000
        assert caps[0].told == [budget, 15_000_000]
        pipeline.generate(REQUEST)
        assert pipeline.handle.plan.budget_nbytes < 15_000_000
    assert caps[0].told[-1] is None


def test_who_forgets_to_close_leaves_no_cap_behind(demo_lzr2):
    pipeline = opened(demo_lzr2)
    assert caps[0].told == [BUDGET]
    del pipeline
    gc.collect()
    assert caps[0].told == [BUDGET, None]


def test_what_the_process_has_on_the_device_already_is_part_of_the_budget(demo_lzr2, monkeypatch):
    needed: list[int] = []
    for there in (0, 1_234_567):
        monkeypatch.setattr(parts_module, "tensors_nbytes", lambda _, there=there: there)
        with opened(demo_lzr2) as pipeline:
            pipeline.prepare(REQUEST)
            needed.append(pipeline.parts.share.reserved_nbytes)
    assert needed[1] - needed[0] == 1_234_567


class Counted:
    """An allocator's count: a forward needs so much."""

    def __init__(self, needed_nbytes: int) -> None:
        self.begun = 0
        self._needed_nbytes = needed_nbytes

    def begin(self) -> None:
        self.begun += 1

    def needed_nbytes(self) -> int:
        return self._needed_nbytes


def entered(pipeline: StreamedPipeline, needed_nbytes: int) -> tuple[list[int], Counted]:
    """Bytes of activations that each of the U-Net's forwards was entered with, if so many are counted."""
    parts = pipeline.parts
    counted = Counted(needed_nbytes)
    parts._members["unet"]._measure(parts._handles["unet"], pipeline.pipe.unet, counted)
    seen: list[int] = []
    enter = parts.share.enter

    def noting(name: str, nbytes: int) -> None:
        if name == "the U-Net":
            seen.append(nbytes)
        enter(name, nbytes)

    parts.share.enter = noting
    pipeline.generate(REQUEST)
    return seen, counted


def test_from_the_second_forward_of_a_kind_on_what_was_counted_in_the_first_counts(demo_lzr2):
    with opened(demo_lzr2) as pipeline:
        seen, counted = entered(pipeline, 123_456)
    assert len(seen) == REQUEST.steps
    assert seen[0] != 123_456
    assert set(seen[1:]) == {123_456}
    assert counted.begun == 1  # in steady state nothing is reset, and no memory given back


def test_what_ran_within_the_budget_isnt_refused_because_more_was_counted(demo_lzr2):
    with opened(demo_lzr2) as pipeline:
        seen, _ = entered(pipeline, 10 * BUDGET)
        share, unet = pipeline.parts.share, pipeline.handle
    assert seen[1] == seen[2] == share.room(0) - unet.smallest_nbytes > seen[0]


def test_a_forward_that_ran_short_is_counted_again(demo_lzr2):
    with opened(demo_lzr2) as pipeline:
        short = iter([True, False, False])
        pipeline.parts._handles["unet"] = Short(pipeline.handle, short)
        seen, counted = entered(pipeline, 123_456)
    assert [nbytes == 123_456 for nbytes in seen] == [False, False, True]
    assert counted.begun == 2


class Short:
    """A handle whose forwards run out of memory at first, as a test says."""

    def __init__(self, handle: object, short: object) -> None:
        self._handle, self._short = handle, short

    @property
    def ran_short(self) -> bool:
        return next(self._short)

    def __getattr__(self, name: str) -> object:
        return getattr(self._handle, name)


def test_a_context_that_grew_takes_its_room_from_the_next_forward_on(demo_lzr2):
    with opened(demo_lzr2) as pipeline:
        parts = pipeline.parts
        before = parts.share.reserved_nbytes
        parts._context = SimpleNamespace(nbytes=1_000_000, look_again=lambda: True)
        entered(pipeline, 123_456)
        assert parts.share.reserved_nbytes > before
        assert caps[0].told == [BUDGET, BUDGET - 1_000_000]
