"""Ctrl-C, or being told to end, while nothing listens."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from safetensors.numpy import save_file

from lzr2.temporary import Draft
from streamer.cli import interrupt
from streamer.cli.interrupt import ends_in_time


@pytest.fixture
def ended(monkeypatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(interrupt, "SECONDS", 0.2)
    before = {number: signal.getsignal(number) for number in interrupt._SIGNALS}
    for number in before:  # whoever started the tests may have had some of them ignored, as nohup does
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield threading.Event()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_does_not_listen_is_ended(ended):
    before = signal.signal(signal.SIGINT, lambda *_: None)  # as if an operation never came back
    try:
        with ends_in_time(lambda number: ended.set()):
            signal.raise_signal(signal.SIGINT)
            assert ended.wait(5)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_ends_by_itself_is_left_alone(ended):
    with pytest.raises(KeyboardInterrupt), ends_in_time(lambda number: ended.set()):
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

    with pytest.raises(KeyboardInterrupt), ends_in_time(lambda number: ended.set()):
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
    interrupt._end(signal.SIGINT)
    assert codes == [130]
    assert text.getvalue().endswith("Interrupted.\n")
    assert ("\x1b[?25h" in text.getvalue()) == terminal


def test_without_ctrl_c_nothing_happens_and_nothing_is_left(ended):
    before = threading.active_count()
    with ends_in_time(lambda number: ended.set()):
        time.sleep(0.3)
    assert threading.active_count() == before
    assert not ended.is_set()
    assert signal.set_wakeup_fd(-1) == -1


def test_without_ctrl_c_it_is_heard_as_before(ended):
    before = signal.getsignal(signal.SIGINT)
    with ends_in_time(lambda number: ended.set()):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", interrupt._SIGNALS)
def test_every_signal_to_end_interrupts_and_is_told_in_the_exit_code(ended, number):
    def told_to_end() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    with pytest.raises(SystemExit) as exit, ends_in_time(lambda number: ended.set()):
        told_to_end()
    assert exit.value.code == 128 + number


def test_a_signal_that_the_program_handles_itself_is_left_to_it(ended):
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with ends_in_time(lambda number: ended.set()):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.4)
    assert heard == [signal.SIGTERM]
    assert not ended.is_set()


def test_the_hard_end_leaves_no_half_written_file(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    with Draft(tmp_path / "w") as draft:
        assert len(list(tmp_path.iterdir())) == 1
        interrupt._end(signal.SIGTERM)
        assert not list(tmp_path.iterdir())
        draft.discard()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_encoding_that_is_told_to_end_leaves_nothing(tmp_path, number):
    save_file({f"t{i}": np.random.default_rng(i).random((512, 4096), np.float32) for i in range(20)}, tmp_path / "in")
    command = [sys.executable, "-c", "from streamer.cli.entry import main; main()", "encode", "in", "out.lzr2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(tmp_path.iterdir())) == 2, "it should be writing by now"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert b"Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
