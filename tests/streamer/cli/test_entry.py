"""The command's first step."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamer.cli.entry import main

INTERRUPTED_WHILE_LOADING = """
import builtins, sys
load = builtins.__import__
def interrupted(name, *rest):
    if name == "streamer.cli.app":
        raise KeyboardInterrupt
    return load(name, *rest)
builtins.__import__ = interrupted
from streamer.cli.entry import main
main()
"""


def test_interrupted_while_it_loads_it_ends_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_it_runs_the_command_line(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["streamer", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capfd.readouterr().out.startswith("streamer ")
