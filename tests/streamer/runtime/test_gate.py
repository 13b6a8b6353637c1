"""One at a time, whoever comes from where."""

from __future__ import annotations

import threading
import time

from streamer.runtime.gate import Gate


def started(function) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_never_two_threads_are_inside():
    gate, inside, most = Gate(), [], []

    def pass_through() -> None:
        for _ in range(50):
            gate.enter(threading.current_thread())
            inside.append(1)
            most.append(len(inside))
            time.sleep(0)
            inside.pop()
            gate.leave(threading.current_thread())

    threads = [started(pass_through) for _ in range(4)]
    for thread in threads:
        thread.join(30)
    assert most == [1] * 200


def test_within_the_same_thread_the_outermost_holds_it():
    gate, came = Gate(), threading.Event()
    gate.enter("outer")
    gate.enter("inner")
    gate.leave("inner")
    other = started(lambda: (gate.enter("other"), came.set()))
    assert not came.wait(0.3)
    gate.leave("outer")
    assert came.wait(10)
    other.join(10)


def test_who_never_entered_cannot_leave_for_others():
    gate, came = Gate(), threading.Event()
    gate.enter("one")
    started(lambda: gate.leave("one")).join(10)  # another thread's
    gate.leave("another")
    other = started(lambda: (gate.enter("other"), came.set()))
    assert not came.wait(0.3)
    gate.leave("one")
    assert came.wait(10)
    other.join(10)


def test_a_thread_that_ended_inside_keeps_nobody_out():
    gate = Gate()
    started(lambda: gate.enter("lost")).join(10)
    gate.enter("next")
    gate.leave("next")


def test_broken_off_and_entered_again_it_is_left_once():
    gate, came = Gate(), threading.Event()
    gate.enter("broken off")
    gate.enter("broken off")
    gate.leave("broken off")
    other = started(lambda: (gate.enter("other"), came.set()))
    assert came.wait(10)
    other.join(10)
