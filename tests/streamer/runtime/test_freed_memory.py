"""What is free in the heap is the system's again. In a process of its own: another's heap has other things in it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


def _tells_what_is_resident() -> bool:
    status = Path("/proc/self/status")
    return status.exists() and "RssAnon" in status.read_text("ascii", "replace")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's heap gives nothing back")
@pytest.mark.skipif(not _tells_what_is_resident(), reason="the system doesn't tell a process's anonymous memory")
def test_what_lies_between_what_is_still_needed_is_the_systems_again():
    others = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    command = [sys.executable, "-c", _GAPS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    given_back, kept = map(int, done.stdout.split())
    assert kept == 400
    assert given_back > 100e6  # of about 180 MB that are free, half of it in each heap


@pytest.mark.parametrize("loads", [lambda _: object(), lambda _: (_ for _ in ()).throw(OSError("no dlopen"))])
def test_with_another_c_library_nothing_happens(monkeypatch, loads):
    monkeypatch.setattr(freed_memory, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(freed_memory, "ctypes", SimpleNamespace(CDLL=loads))
    freed_memory._trim.cache_clear()
    freed_memory.give_back()
    assert freed_memory._trim() is None
    freed_memory._trim.cache_clear()


def test_on_another_system_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(freed_memory, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(freed_memory, "ctypes", SimpleNamespace(CDLL=lambda _: pytest.fail("there is none")))
    freed_memory._trim.cache_clear()
    freed_memory.give_back()
    freed_memory._trim.cache_clear()
