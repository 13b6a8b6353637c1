"""Worker threads: they never die silently, and end when told to."""

from __future__ import annotations

import os
import threading
import time
import warnings

import pytest

from streamer.errors import EngineClosedError
from streamer.runtime import prefetch
from streamer.runtime.prefetch import PrefetchThreads


def test_what_is_raised_is_told_and_the_thread_goes_on():
    calls: list[int] = []
    failures: list[BaseException] = []

    def load_next() -> bool:
        calls.append(len(calls))
        if len(calls) == 2:
            raise ValueError("once")
        return len(calls) < 4

    threads = PrefetchThreads(1, load_next, failures.append, "test")
    threads.start()
    threads.join()
    assert calls == [0, 1, 2, 3]
    assert [str(error) for error in failures] == ["once"]


def test_even_an_exit_is_told():
    failures: list[BaseException] = []
    answers = iter([SystemExit(3), False])

    def load_next() -> bool:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    threads = PrefetchThreads(1, load_next, failures.append, "test")
    threads.start()
    threads.join()
    assert [type(error) for error in failures] == [SystemExit]


def test_none_is_none():
    before = threading.active_count()
    threads = PrefetchThreads(0, lambda: True, lambda error: None, "test")
    threads.start()
    assert threading.active_count() == before
    threads.join()


def test_storage_that_does_not_answer_is_warned_of_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(prefetch, "JOIN_SECONDS", 0.1)
    answer = threading.Event()
    threads = PrefetchThreads(1, lambda: not answer.wait(30), lambda error: None, "stuck")
    threads.start()
    started = time.monotonic()
    with pytest.warns(RuntimeWarning, match="stuck-0: still reading"):
        threads.join()
    assert time.monotonic() - started < 5
    answer.set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads.join()


def test_joined_by_one_of_them_the_others_are_waited_for():
    ended: list[str] = []
    outcome: list[object] = []
    both = threading.Barrier(2)

    def load_next() -> bool:
        both.wait(30)
        if threading.current_thread().name == "test-0":
            assert threads.am_one
            try:
                threads.join()
            except RuntimeError as error:
                outcome.append(error)
            outcome.extend(ended)
        else:
            time.sleep(0.05)
            ended.append("test-1")
        return False

    threads = PrefetchThreads(2, load_next, outcome.append, "test")
    assert not threads.am_one
    started = list(threads._threads)
    threads.start()
    for thread in started:
        thread.join(30)
    assert outcome == ["test-1"]


def test_those_that_never_began_are_not_waited_for():
    PrefetchThreads(2, lambda: True, lambda error: None, "test").join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_that_it_has_none():
    stop = threading.Event()
    threads = PrefetchThreads(1, lambda: not stop.wait(30), lambda error: None, "test")
    threads.start()
    threads.require_here()
    child = os.fork()
    if not child:
        try:
            threads.require_here()
        except EngineClosedError as error:
            os._exit(7 if "spawn" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    stop.set()
    threads.join()
