"""Counters, and what a step's share of them is."""

from __future__ import annotations

import time
from collections import deque

from streamer.runtime.stats import StepStats, StreamStats


def test_a_step_has_what_was_counted_while_it_ran():
    stats = StreamStats()
    stats.loaded(100, 1.0)
    stats.begin_step()
    stats.loaded(20, 0.5)
    stats.waited("a", 0.25, surprised=False)
    stats.waited("b", 0.5, surprised=True)
    time.sleep(0.01)
    stats.end_step()
    stats.loaded(3, 0.0)
    (step,) = stats.steps
    assert (step.loaded_nbytes, step.load_seconds, step.waited_seconds) == (20, 0.5, 0.75)
    assert step.seconds >= 0.01
    assert stats.totals.loaded_nbytes == 123
    assert stats.totals.surprises == 1
    assert stats.waited_by_block == {"a": 0.25, "b": 0.5}


def test_an_end_without_a_beginning_is_no_step():
    stats = StreamStats()
    stats.end_step()
    assert stats.steps == ()


def test_the_stall_share_of_nothing_is_nothing():
    assert StepStats(0.0, 0.0, 0, 0.0).stall_share == 0
    assert StepStats(2.0, 0.5, 0, 0.0).stall_share == 0.25


def test_totals_go_on_when_old_steps_are_forgotten(monkeypatch):
    stats = StreamStats()
    monkeypatch.setattr(stats, "_steps", deque(maxlen=2))
    for _ in range(5):
        stats.begin_step()
        time.sleep(0.002)
        stats.end_step()
    assert len(stats.steps) == 2
    assert stats.totals.steps == 5
    assert stats.totals.step_seconds >= 5 * 0.002 > 0
    assert 0.002 <= stats.first_step_seconds < stats.totals.step_seconds
