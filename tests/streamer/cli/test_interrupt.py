"""Ctrl-C while nothing listens."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from streamer.cli import interrupt
from streamer.cli.interrupt import ends_in_time


@pytest.fixture
def ended(monkeypatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(interrupt, "SECONDS", 0.2)
    before = signal.getsignal(signal.SIGINT)
    yield threading.Event()
    signal.signal(signal.SIGINT, before)


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


def test_pressed_again_it_breaks_nothing_off(ended):
    orderly = []

    def interrupted_twice() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            orderly.append("end")

    with pytest.raises(KeyboardInterrupt), ends_in_time(ended.set):
        interrupted_twice()
    assert orderly == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("terminal", [True, False])
def test_the_hard_end_shows_the_cursor_again(monkeypatch, terminal):
    text = io.StringIO()
    monkeypatch.setattr(text, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", text)
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    interrupt._end()
    assert codes == [130]
    assert text.getvalue().endswith("Interrupted.\n")
    assert ("\x1b[?25h" in text.getvalue()) == terminal


def test_without_ctrl_c_nothing_happens_and_nothing_is_left(ended):
    before = threading.active_count()
    with ends_in_time(ended.set):
        time.sleep(0.3)
    assert threading.active_count() == before
    assert not ended.is_set()
    assert signal.set_wakeup_fd(-1) == -1


def test_without_ctrl_c_it_is_heard_as_before(ended):
    before = signal.getsignal(signal.SIGINT)
    with ends_in_time(ended.set):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
