"""What is free in the heap is the system's again. In a process of its own: another's heap has other things in it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from streamer.runtime import freed_memory

_GAPS = """
import re, threading
from pathlib import Path
import numpy as np
from streamer.runtime.freed_memory import give_back

def resident():
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def fill():  # below the limit from which on what is freed is the system's at once
    every = [np.ones(100_000, np.uint8) for _ in range(1000)]
    kept.extend(every[::10])

kept = []
for _ in range(2):  # the main heap, and another thread's
    fill()
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
before = resident()
give_back()
print(before - resident(), len(kept))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's heap gives nothing back")
def test_what_lies_between_what_is_still_needed_is_the_systems_again():
    done = subprocess.run([sys.executable, "-c", _GAPS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept == 400
    assert given_back > 100e6  # of 200 MB that were freed


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: object())  # as with musl, which has no malloc_trim
    freed_memory.give_back()
    monkeypatch.setattr(freed_memory.sys, "platform", "win32")
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: pytest.fail("there is none"))
    freed_memory.give_back()
