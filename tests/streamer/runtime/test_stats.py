"""Counters, and what a step's share of them is."""

from __future__ import annotations

import time

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
