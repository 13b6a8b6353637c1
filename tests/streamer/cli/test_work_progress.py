"""What is shown while a whole file is worked on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamer.cli import work_progress
from streamer.cli.work_progress import WorkProgress


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, quiet: bool, between: float = 0.0) -> str:
    text = io.StringIO()
    monkeypatch.setattr(work_progress, "_SECONDS_BETWEEN_LINES", between)
    monkeypatch.setattr(work_progress, "Console", lambda stderr: Console(file=text, force_terminal=terminal, width=120))
    with WorkProgress("Encoding [b]x[/b]", 4_000_000, quiet=quiet) as progress:
        progress.advance(1_000_000)
        progress.reach(3_000_000, 4_000_000)
    return text.getvalue()


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then(monkeypatch):
    lines = shown(monkeypatch, terminal=False, quiet=False).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Encoding [b]x[/b]: 1 MB of 4 MB",
        "Encoding [b]x[/b]: 3 MB of 4 MB",
    ]
    assert shown(monkeypatch, terminal=False, quiet=False, between=1000.0) == ""


def test_on_a_terminal_there_is_a_bar_and_nothing_when_quiet(monkeypatch):
    assert "3.0/4.0 MB" in shown(monkeypatch, terminal=True, quiet=False)
    assert shown(monkeypatch, terminal=True, quiet=True) == ""
