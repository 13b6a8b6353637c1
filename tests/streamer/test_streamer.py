"""What `import streamer` gives: little at first, and everything when it is asked for."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

import streamer

LATE = """
import gc, sys
import streamer
before = "torch" in sys.modules
counts = gc.get_stats()[2]["collections"]
streamer.load_unet
print(before, "diffusers" in sys.modules, gc.get_stats()[2]["collections"] - counts, gc.isenabled())
"""


def test_libraries_come_when_something_of_theirs_is_asked_for_and_no_garbage_is_looked_for_meanwhile():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    before, after, collections, looks = done.stdout.split()
    assert (before, after, looks) == ("False", "True", "True")
    assert int(collections) <= 1  # importing may call for one itself; else there are several


def test_a_program_that_looks_for_no_garbage_goes_on_so(monkeypatch):
    monkeypatch.setitem(streamer._PLACES, "late", "streamer.config")
    gc.disable()
    try:
        with pytest.raises(AttributeError):
            streamer.late  # noqa: B018 - the module is imported, and has no such name
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(AttributeError):
        streamer.late  # noqa: B018 - as before
    assert gc.isenabled()


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="'streamer' has no attribute 'load_all'"):
        streamer.load_all  # noqa: B018 - asking is the test
