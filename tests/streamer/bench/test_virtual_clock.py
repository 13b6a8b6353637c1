"""The virtual clock: processes share processors evenly, wait for times and for each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.virtual_clock import OnCores, Paused, Process, Until, VirtualClock


def work(clock: VirtualClock, threads: int, seconds: float, ends: list[float]) -> Process:
    yield OnCores(threads, seconds)
    ends.append(clock.now)


def ended(cores: int, *loads: tuple[int, float]) -> list[float]:
    """When each of the loads, begun together, had ended."""
    clock = VirtualClock(cores)
    ends: list[list[float]] = [[] for _ in loads]

    def main() -> Process:
        while not all(ends):
            yield Paused()

    clock.run(main(), [work(clock, *load, end) for load, end in zip(loads, ends, strict=True)])
    return [end[0] for end in ends]


def test_with_processors_for_all_nothing_is_slowed():
    assert ended(4, (2, 3.0), (1, 1.0), (1, 2.0)) == pytest.approx([3, 1, 2])


def test_threads_share_what_there_is():
    # Three threads on two processors: each has two thirds of one until the single one has done its second, at 1.5;
    # the other two had a second of their three by then and go on undisturbed.
    assert ended(2, (2, 3.0), (1, 1.0)) == pytest.approx([3.5, 1.5])


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(1, 4), st.floats(0.01, 5)), min_size=1, max_size=6))
def test_no_more_work_is_done_than_there_are_processors_and_none_stands_idle(cores, loads):
    ends = ended(cores, *loads)
    total = sum(threads * seconds for threads, seconds in loads)
    assert max(ends) >= total / cores - 1e-6
    assert all(end >= seconds - 1e-6 for end, (_, seconds) in zip(ends, loads, strict=True))
    if sum(threads for threads, _ in loads) <= cores:
        assert ends == pytest.approx([seconds for _, seconds in loads])


def test_a_time_is_waited_for_and_one_gone_by_is_not():
    clock = VirtualClock(1)
    seen: list[float] = []

    def main() -> Process:
        for time in (2.0, 1.0, 5.0):
            yield Until(time)
            seen.append(clock.now)

    clock.run(main(), [])
    assert seen == [2.0, 2.0, 5.0]


@pytest.mark.parametrize("main_is_first", [True, False])
def test_who_is_paused_sees_what_others_did_at_the_same_time(main_is_first):
    clock = VirtualClock(1)
    given_over: list[str] = []
    taken: list[float] = []

    def gives() -> Process:
        yield OnCores(1, 1.0)
        given_over.append("it")
        yield Paused()

    def takes() -> Process:
        while not given_over:
            yield Paused()
        taken.append(clock.now)
        yield Until(3.0)

    processes = (takes(), [gives()]) if main_is_first else (_until(4.0), [gives(), takes()])
    clock.run(*processes)
    assert taken == [1.0]
    assert clock.now == (3.0 if main_is_first else 4.0)


def test_processes_that_wait_for_each_other_are_an_error():
    def waits() -> Process:
        while True:
            yield Paused()

    with pytest.raises(RuntimeError, match="waits for another"):
        VirtualClock(1).run(waits(), [waits()])


def _until(time: float) -> Process:
    yield Until(time)
