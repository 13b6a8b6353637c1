"""Reads are summed for each thread apart; neighbours become one span."""

from __future__ import annotations

import threading

import pytest

from streamer.runtime.load_timer import LoadTimer


def test_reads_close_together_are_one_span():
    timer = LoadTimer()
    timer.note(1.0, 2.0, 10)
    timer.note(2.00001, 3.0, 5)
    timer.note(4.0, 4.5, 1)
    reads = timer.take()
    assert reads.nbytes == 16
    assert reads.seconds == pytest.approx(2.49999)
    assert reads.spans == [(1.0, 3.0, 15), (4.0, 4.5, 1)]
    assert timer.take().nbytes == 0


def test_each_thread_has_its_own_reads():
    timer = LoadTimer()
    timer.note(0.0, 1.0, 10)
    elsewhere: list[int] = []

    def other() -> None:
        timer.note(0.0, 1.0, 3)
        elsewhere.append(timer.take().nbytes)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert elsewhere == [3]
    assert timer.take().nbytes == 10
