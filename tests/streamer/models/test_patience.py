"""A line is told to whoever waits long, and to nobody else."""

from __future__ import annotations

import threading

import pytest

from streamer.models.patience import told_if_slow


def test_what_is_slow_is_told_once_while_it_lasts():
    told = threading.Event()
    lines: list[str] = []

    def notify(line: str) -> None:
        lines.append(line)
        told.set()

    with told_if_slow(notify, "Working ...", 0.01):
        assert told.wait(10)
    assert lines == ["Working ..."]


def test_what_is_quick_or_fails_quickly_is_not_told():
    lines: list[str] = []
    with told_if_slow(lines.append, "Working ...", 60):
        pass
    with pytest.raises(ZeroDivisionError), told_if_slow(lines.append, "Working ...", 60):
        raise ZeroDivisionError
    assert lines == []
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
