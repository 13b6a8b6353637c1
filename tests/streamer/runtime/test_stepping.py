"""One thread in a step at a time; a second one is told, and a dead one is no obstacle."""

from __future__ import annotations

import threading
from collections.abc import Callable

from streamer.errors import EngineBusyError
from streamer.runtime.stepping import Stepping


def in_a_thread(action: Callable[[], object]) -> list[BaseException]:
    faults: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except EngineBusyError as error:
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return faults


def test_a_second_thread_is_told_until_the_first_has_ended():
    stepping = Stepping()
    assert not stepping.now
    stepping.begin()
    stepping.begin()  # the step before was broken off
    stepping.require_no_other()
    assert stepping.now
    for action in (stepping.begin, stepping.require_no_other):
        (fault,) = in_a_thread(action)
        assert "second time" in str(fault)
    in_a_thread(stepping.end)  # not its own
    assert stepping.now
    stepping.end()
    stepping.end()
    assert not stepping.now
    assert in_a_thread(stepping.begin) == []


def test_a_thread_that_died_in_its_step_is_in_no_ones_way():
    stepping = Stepping()
    assert in_a_thread(stepping.begin) == []
    assert not stepping.now
    stepping.begin()
    assert stepping.now
