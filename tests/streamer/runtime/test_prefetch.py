"""Worker threads: they never die silently, and end when told to."""

from __future__ import annotations

import threading
import time
import warnings

import pytest

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

    PrefetchThreads(1, load_next, failures.append, "test").join()
    assert [type(error) for error in failures] == [SystemExit]


def test_none_is_none():
    before = threading.active_count()
    threads = PrefetchThreads(0, lambda: True, lambda error: None, "test")
    assert threading.active_count() == before
    threads.join()


def test_storage_that_does_not_answer_is_warned_of_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(prefetch, "JOIN_SECONDS", 0.1)
    answer = threading.Event()
    threads = PrefetchThreads(1, lambda: not answer.wait(30), lambda error: None, "stuck")
    started = time.monotonic()
    with pytest.warns(RuntimeWarning, match="stuck-0: still reading"):
        threads.join()
    assert time.monotonic() - started < 5
    answer.set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads.join()
