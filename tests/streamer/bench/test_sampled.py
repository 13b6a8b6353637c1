"""Timing one piece of each kind."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from streamer.bench.sampled import Kind, seconds_per_size


class Piece:
    """Work that says how long it took; a list of its runs."""

    def __init__(self, *says: float, takes: float = 0.0) -> None:
        self.says = list(says)
        self.takes = takes
        self.runs = 0

    def __call__(self) -> Callable[[], float]:
        return self.run

    def run(self) -> float:
        time.sleep(self.takes)
        self.runs += 1
        return self.says[min(self.runs, len(self.says)) - 1]


def test_the_median_is_taken_without_the_first_run():
    piece = Piece(100.0, 3.0, 1.0, 2.0, 50.0)
    assert seconds_per_size([Kind("a", 2.0, 10.0, piece)], 5.0) == {"a": 1.25}
    assert piece.runs == 5


def test_a_kind_that_takes_long_runs_once():
    piece = Piece(3.0, 1.0, takes=0.05)
    assert seconds_per_size([Kind("a", 1.0, 1.0, piece)], 0.01) == {"a": 3.0}
    assert piece.runs == 1


def test_what_there_is_no_time_for_has_the_rate_of_the_rest():
    large, small = Piece(6.0, takes=0.05), Piece(1.0)
    found = seconds_per_size([Kind("small", 1.0, 1.0, small), Kind("large", 3.0, 30.0, large)], 0.01)
    assert found == {"large": 2.0, "small": 2.0}
    assert (large.runs, small.runs) == (1, 0)


def test_each_kind_has_its_part_of_the_time():
    pieces = {size: Piece(1.0, takes=0.02) for size in (95.0, 5.0)}
    seconds_per_size([Kind(size, 1.0, size, piece) for size, piece in pieces.items()], 0.4)
    assert pieces[95.0].runs == 5
    assert pieces[5.0].runs == 1


def test_nothing_to_time_is_nothing():
    assert seconds_per_size([], 1.0) == {}


def test_work_of_no_size_has_no_rate_that_is_infinite():
    assert seconds_per_size([Kind("a", 0.0, 0.0, Piece(2.0))], 1.0) == {"a": pytest.approx(2.0)}
