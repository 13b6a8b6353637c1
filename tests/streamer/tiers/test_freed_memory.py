"""Freed memory is used again without page faults, unless the environment says otherwise, and goes back when told."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from streamer.tiers.freed_memory import _glibc, give_freed_back, keep_freed_memory

# Two results of 12 and 20 MB, in turn, as layers have them, with pages of the usual size. Told are the faults of three
# turns, and the bytes held before and after giving back.
_LAYERS = """
import ctypes, resource
from streamer.tiers.freed_memory import give_freed_back, keep_freed_memory
c = ctypes.CDLL(None)
c.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: no huge pages
kept = {keep}
def result(nbytes):
    made = ctypes.c_void_p()
    assert c.posix_memalign(ctypes.byref(made), ctypes.c_size_t(64), ctypes.c_size_t(nbytes)) == 0
    ctypes.memset(made, 1, nbytes)
    return made
def layers():
    for _ in range(3):
        first, second = result(12_000_000), result(20_000_000)
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
_NBYTES = 3 * 32_000_000  # of three turns

glibc_only = pytest.mark.skipif(_glibc() is None, reason="this C library keeps and gives back by rules of its own")


def layers(keep: str, **variables: str) -> tuple[str, float, int, int]:
    """Whether it is kept, page faults by those of all that is written, and bytes held before and after giving back."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _LAYERS.format(keep=keep)]
    done = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True)
    kept, faults, between, after = done.stdout.split()
    return kept, int(faults) * resource.getpagesize() / _NBYTES, int(between), int(after)


@glibc_only
def test_what_is_kept_is_used_again_and_given_back_when_told():
    kept, faults, between, after = layers("keep_freed_memory()")
    assert kept == "True"
    assert faults < 0.05
    assert between > 30_000_000
    assert after < 5_000_000


@glibc_only
@pytest.mark.parametrize("tunable", ["mmap_threshold", "trim_threshold"])
def test_what_the_environment_says_holds(tunable: str):
    for variables in (
        {f"MALLOC_{tunable.upper()}_": "131072"},
        {"GLIBC_TUNABLES": f"glibc.malloc.{tunable}=131072"},
    ):
        kept, faults, _, _ = layers("keep_freed_memory()", **variables)
        assert kept == "False"
        assert faults > 0.9


@glibc_only
def test_what_the_environment_keeps_is_not_given_back():
    settings = {"MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "33554432"}
    kept, _, between, after = layers("keep_freed_memory()", **settings)
    assert kept == "False"
    assert min(between, after) > 30_000_000


@glibc_only
def test_nothing_is_given_back_that_was_not_kept(monkeypatch: pytest.MonkeyPatch):
    keep_freed_memory.cache_clear()
    monkeypatch.setattr("streamer.tiers.freed_memory._glibc", lambda: pytest.fail("told to"))
    give_freed_back()


@pytest.mark.parametrize("refused", [False, True])
def test_an_older_version_keeps_smaller_blocks(monkeypatch: pytest.MonkeyPatch, refused: bool):
    told = []

    class Old:
        def mallopt(self, which: int, nbytes: int) -> int:
            told.append((which, nbytes))
            return int(which == -1 or (nbytes <= 32 << 20 and not refused))

    monkeypatch.setattr("streamer.tiers.freed_memory._glibc", Old)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    assert keep_freed_memory.__wrapped__() is not refused
    assert told == [(-3, 256 << 20), (-3, 32 << 20), *([] if refused else [(-1, 256 << 20)])]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    _glibc.cache_clear()
    try:
        assert not keep_freed_memory.__wrapped__()
        give_freed_back()
    finally:
        _glibc.cache_clear()
