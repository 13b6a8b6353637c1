"""Counters, and what a step's share of them is."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import fields

from streamer.runtime.stats import StepStats, StreamStats, Work


def test_a_step_has_what_was_counted_while_it_ran():
    stats = StreamStats()
    stats.add("a", Work(loaded_nbytes=100, decode_seconds=1.0))
    stats.begin_step()
    stats.add("b", Work(loaded_nbytes=20, read_seconds=0.125, decode_seconds=0.25, upload_seconds=0.125))
    stats.add("a", Work(waited_seconds=0.25))
    stats.add("b", Work(waited_seconds=0.5))
    stats.surprised()
    time.sleep(0.01)
    stats.end_step()
    stats.add("a", Work(loaded_nbytes=3))
    (step,) = stats.steps
    assert (step.work.loaded_nbytes, step.work.load_seconds, step.work.waited_seconds) == (20, 0.5, 0.75)
    assert step.seconds >= 0.01
    assert stats.totals.work.loaded_nbytes == 123
    assert stats.totals.surprises == 1
    assert {name: work.waited_seconds for name, work in stats.by_block.items()} == {"a": 0.25, "b": 0.5}
    assert stats.by_block["a"].loaded_nbytes == 103


def test_work_adds_up_and_comes_apart_again():
    count = len(fields(Work))
    one = Work(*range(1, count + 1))
    other = Work(*range(10, 10 * count + 1, 10))
    assert one.plus(other) == Work(*range(11, 11 * count + 1, 11))
    assert one.plus(other).less(one) == other


def test_an_end_without_a_beginning_is_no_step():
    stats = StreamStats()
    stats.end_step()
    assert stats.steps == ()


def test_the_stall_share_of_nothing_is_nothing():
    assert StepStats(0.0).stall_share == 0
    assert StepStats(2.0, Work(waited_seconds=0.5)).stall_share == 0.25


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
