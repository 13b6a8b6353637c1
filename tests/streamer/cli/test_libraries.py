"""Loading the large libraries."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, os, sys
from streamer.cli.libraries import load_libraries
load_libraries(bars=False)
import diffusers.utils.logging as d
print("torch" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000, d.is_progress_bar_enabled(), flush=True)
os._exit(0)  # what other libraries print while Python ends is not from loading them
"""


def test_they_are_loaded_quietly_and_the_collector_works_on():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False"]
    assert done.stderr == ""
