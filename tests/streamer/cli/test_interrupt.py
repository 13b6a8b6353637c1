"""Ctrl-C while nothing listens."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from streamer.cli import interrupt
from streamer.cli.interrupt import ends_in_time


@pytest.fixture
def ended(monkeypatch) -> threading.Event:
    monkeypatch.setattr(interrupt, "SECONDS", 0.2)
    return threading.Event()


def test_what_does_not_listen_is_ended(ended):
    before = signal.signal(signal.SIGINT, lambda *_: None)  # as if an operation never came back
    try:
        with ends_in_time(ended.set):
            signal.raise_signal(signal.SIGINT)
            assert ended.wait(5)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_ends_by_itself_is_left_alone(ended):
    with pytest.raises(KeyboardInterrupt), ends_in_time(ended.set):
        signal.raise_signal(signal.SIGINT)
    time.sleep(0.4)
    assert not ended.is_set()


def test_without_ctrl_c_nothing_happens_and_nothing_is_left(ended):
    before = threading.active_count()
    with ends_in_time(ended.set):
        time.sleep(0.3)
    assert threading.active_count() == before
    assert not ended.is_set()
    assert signal.set_wakeup_fd(-1) == -1
