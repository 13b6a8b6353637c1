"""The measuring of ratios: medians in turn, on made-up work; results that differ aren't measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import guarded_ratios
from benchmarks.guarded_ratios import Ratios, by_turns


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, *seconds):
        left = list(seconds)

        def run():
            self.now += left.pop(0)

        return run


def test_it_is_the_median_of_ratios():
    clock = Clock()
    assert by_turns(clock.work(1, 8, 3), clock.work(2, 4, 2), clock, rounds=3) == 1.5


def test_one_disturbed_round_changes_nothing():
    clock = Clock()
    assert by_turns(clock.work(3, 300, 3), clock.work(2, 2, 2), clock, rounds=3) == 1.5


def test_a_machine_that_becomes_slow_halfway_changes_nothing():
    clock = Clock()
    assert by_turns(clock.work(3, 3, 30, 30), clock.work(2, 2, 20, 20), clock, rounds=4) == 1.5


def test_another_result_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded_ratios.plain_decode, "decode", lambda data, info: np.zeros(info.shape, np.float16))
    with Ratios(tmp_path) as ratios, pytest.raises(AssertionError, match="another result"):
        ratios.measure(["decode lattice-heavy"])


@pytest.mark.timing
def test_without_reading_ahead_the_overlap_is_found_worse(tmp_path):
    from benchmarks.guard import RECORDED, read, worse

    recorded = read(RECORDED)
    with Ratios(tmp_path, workers=0) as ratios:
        found = worse(recorded, ratios.measure(["overlap"]))
    assert [each.name for each in found] == ["overlap"]


def test_only_what_is_asked_for_is_measured(tmp_path):
    with Ratios(tmp_path) as ratios:
        assert ratios.measure([]) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_recorded_ratio_can_be_measured(tmp_path):
    from benchmarks.guard import RECORDED, read

    names = read(RECORDED).keys()
    with Ratios(tmp_path) as ratios:
        measured = ratios.measure(names)
    assert measured.keys() == set(names)
    assert all(0 < ratio < 100 for ratio in measured.values())
