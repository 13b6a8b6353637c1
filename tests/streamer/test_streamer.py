"""What `import streamer` gives: little at first, and everything when it is called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import streamer
from streamer.runtime.attach import StreamHandle

LATE = """
import gc, os, sys
import streamer, streamer.errors
from streamer.tiers.read_ahead import ReadAhead

large = {"torch", "diffusers", "numpy", "numba"}
print(*large & set(sys.modules))

def enter(self, begin=ReadAhead.__enter__):
    print(*large & set(sys.modules), self._paths[0].name)
    return begin(self)

def close(self, end=ReadAhead.close):
    end(self)
    print("closed", self._thread.is_alive())

ReadAhead.__enter__ = enter
ReadAhead.close = close
import streamer.models.head_start
streamer.models.head_start.processors = lambda: 2
counts = gc.get_stats()[2]["collections"]
unet = streamer.load_unet(sys.argv[1], device="cpu")
looked = gc.get_stats()[2]["collections"] - counts
print("diffusers" in sys.modules, looked, gc.isenabled(), os.environ.get("GOMP_SPINCOUNT"))
unet.streaming.close()
try:
    streamer.load_pipeline(weights=sys.argv[1], device="cpu", vram_budget=1)
except streamer.errors.BudgetError:
    print(gc.isenabled())
"""


def test_libraries_are_loaded_by_a_call_with_the_weights_being_read_and_no_garbage_looked_for(demo_lzr2):
    command = [sys.executable, "-c", LATE, str(demo_lzr2)]
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=True)
    at_first, when_reading, closed, loaded, again, closed_again, after_an_error = done.stdout.splitlines()
    assert at_first == ""
    assert when_reading == demo_lzr2.name
    assert again.endswith(demo_lzr2.name)
    assert closed == closed_again == "closed False"
    assert after_an_error == "True"
    libraries, collections, looks, spins = loaded.split()
    assert (libraries, looks, spins) == ("True", "True", "5000")
    assert int(collections) <= 2  # what is imported may call for one itself; else there are several


def test_the_handle_has_its_name_here():
    assert streamer.StreamHandle is StreamHandle


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="'streamer' has no attribute 'load_all'"):
        streamer.load_all  # noqa: B018 - asking is the test
