"""What is shown while a picture is drawn."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamer.cli import progress
from streamer.cli.progress import Reading, StepProgress

READING = Reading(2.0, 3_000_000_000, 0.25, 1_000_000_000, 2_500_000_000)


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, quiet: bool, between: float = 0.0) -> str:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", between)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    with StepProgress(console, "a [red]cat[/red]", 4, quiet=quiet) as steps:
        for number in range(1, 5):
            steps.step(number, 4, lambda: READING)
    return text.getvalue()


def test_a_reading_tells_time_rate_stall_and_memory():
    assert READING.text() == "2.00 s/step  1,500 MB/s streamed  25% stalled  weights 1 GB  memory 2.5 GB"


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then(monkeypatch):
    lines = shown(monkeypatch, terminal=False, quiet=False).splitlines()
    assert len(lines) == 4
    assert lines[0] == f"a [red]cat[/red]: step 1/4  {READING.text()}"
    assert shown(monkeypatch, terminal=False, quiet=False, between=1000.0) == ""


def test_on_a_terminal_there_is_a_live_line(monkeypatch):
    text = shown(monkeypatch, terminal=True, quiet=False)
    assert "\x1b[" in text
    assert "4/4" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_quiet(monkeypatch, terminal):
    assert shown(monkeypatch, terminal=terminal, quiet=True) == ""


def test_the_steps_are_those_that_are_made(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with StepProgress(Console(file=text, width=200), "x", 4, quiet=False) as steps:
        steps.step(7, 7, lambda: READING)
    assert text.getvalue().startswith("x: step 7/7")
