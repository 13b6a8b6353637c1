"""Freed memory is used again without page faults, unless the environment says otherwise, and goes back when told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from streamer.tiers.freed_memory import _glibc, give_freed_back, keep_freed_memory

# Two results of 24 and 40 MB, in turn, as layers have them; what is told is of the last three turns.
_LAYERS = """
import ctypes, resource
from streamer.tiers.freed_memory import give_freed_back, keep_freed_memory
kept = {keep}
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
def result(nbytes):
    made = ctypes.c_void_p(c.malloc(ctypes.c_size_t(nbytes)))
    ctypes.memset(made, 1, nbytes)
    return made
def layers():
    for _ in range(3):
        first, second = result(24_000_000), result(40_000_000)
        c.free(first)
        c.free(second)
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
before = held()
layers()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
layers()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
between = held()
give_freed_back()
print(kept, faults, between - before, held() - before)
"""

glibc_only = pytest.mark.skipif(_glibc() is None, reason="this C library keeps and gives back by rules of its own")


def layers(keep: str, **variables: str) -> tuple[str, int, int, int]:
    """Whether it is kept, page faults in three turns, and bytes held after them and after giving back."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _LAYERS.format(keep=keep)]
    done = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True)
    kept, faults, between, after = done.stdout.split()
    return kept, int(faults), int(between), int(after)


@glibc_only
def test_what_is_kept_is_used_again_and_given_back_when_told():
    _, faults_before, _, _ = layers("None")
    kept, faults, between, after = layers("keep_freed_memory()")
    assert kept == "True"
    assert faults_before > 10_000  # a page each
    assert faults < faults_before / 20
    assert between > 60_000_000
    assert after < 10_000_000


@glibc_only
@pytest.mark.parametrize(
    "variable", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}]
)
def test_what_the_environment_says_holds(variable: dict[str, str]):
    kept, faults, _, _ = layers("keep_freed_memory()", **variable)
    assert kept == "False"
    assert faults > 10_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    _glibc.cache_clear()
    keep_freed_memory.cache_clear()
    try:
        assert not keep_freed_memory()
        give_freed_back()
    finally:
        _glibc.cache_clear()
        keep_freed_memory.cache_clear()
