"""Loading the large libraries."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import gc, os, sys
from streamer.cli.libraries import load_libraries
load_libraries(bars=False)
import diffusers.utils.logging as d
spins = os.environ["GOMP_SPINCOUNT"]
frozen = gc.get_freeze_count() > 100_000
print("torch" in sys.modules, gc.isenabled(), frozen, d.is_progress_bar_enabled(), spins, flush=True)
os._exit(0)  # what other libraries print while Python ends is not from loading them
"""


def test_they_are_loaded_quietly_and_the_collector_works_on():
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", CODE], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False", "5000"]
    assert done.stderr == ""
