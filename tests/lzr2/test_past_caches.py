"""Stores past the caches put the same bytes at the same places as any others."""

from __future__ import annotations

import platform
import re
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import kernels, past_caches, rows_past_caches
from lzr2.compiled import OPTIONS

EVERY = np.arange(65_536, dtype=np.uint16)
TABLE = np.zeros(65_536, np.uint32)
NONE = np.zeros(0, np.uint32)
LATTICE = (np.zeros((1, 1), np.uint16), np.zeros((1, 3), np.uint32), np.zeros((1, 4), np.uint32), 4, 81)
ROWS = (*LATTICE, NONE, False, TABLE, 1, 0, 0)
ROWS_AND_POSITIONS = (*LATTICE, NONE, np.zeros(0, np.uint16), TABLE, 0)
on_x86 = pytest.mark.skipif(
    not kernels.CONVERTS_IN_HARDWARE or platform.machine() not in ("x86_64", "AMD64"),
    reason="other processors have other instructions",
)
in_hardware = pytest.mark.skipif(not kernels.CONVERTS_IN_HARDWARE, reason="this processor doesn't convert itself")


@settings(deadline=None)  # the first one compiles
@given(
    dtype=st.sampled_from([np.uint16, np.uint32]),
    n=st.integers(0, 200),
    source=st.integers(0, 40),
    target=st.integers(0, 40),
)
def test_a_copy_from_anywhere_to_anywhere(dtype: Any, n: int, source: int, target: int) -> None:
    values = np.arange(1, 301).astype(dtype)
    out = np.zeros(300, dtype)
    past_caches.copy(values[source : source + n], out[target : target + n])
    wanted = np.zeros(300, dtype)
    wanted[target : target + n] = values[source : source + n]
    assert np.array_equal(out, wanted)


@pytest.mark.parametrize("shift", range(4))
def test_a_copy_to_where_no_item_begins_with_a_line(shift: int) -> None:
    memory = np.zeros(1000, np.uint8)
    out = np.frombuffer(memory.data, np.uint32, 200, offset=shift)
    past_caches.copy(np.arange(200, dtype=np.uint32), out)
    assert np.array_equal(out, np.arange(200))
    assert not memory[:shift].any()
    assert not memory[shift + 800 :].any()


def test_what_is_not_contiguous_is_copied_item_by_item() -> None:
    values, out = np.arange(200, dtype=np.uint32), np.zeros(200, np.uint32)
    past_caches.copy(values[::2], out[:100])
    assert np.array_equal(out[:100], values[::2])
    past_caches.copy(values[:100], out[::2])
    assert np.array_equal(out[::2], values[:100])


def test_no_more_is_copied_than_there_is_room_for() -> None:
    out = np.zeros(100, np.uint32)
    past_caches.copy(np.arange(1, 101, dtype=np.uint32), out[:50])
    assert np.array_equal(out, [*range(1, 51), *[0] * 50])


@in_hardware
@pytest.mark.parametrize("shift", range(17))
@pytest.mark.parametrize("extend", [past_caches.extend, past_caches.extend_near])
def test_every_pattern_is_extended_as_numpy_extends_it(extend: Any, shift: int) -> None:
    out = np.zeros(65_600, np.uint32)
    extend(EVERY, out[shift : shift + 65_536])
    with np.errstate(all="ignore"):
        wanted = EVERY.view(np.float16).astype(np.float32).view(np.uint32)
    numbers = ~np.isnan(EVERY.view(np.float16))
    found = out[shift : shift + 65_536]
    assert np.array_equal(found[numbers], wanted[numbers])
    assert np.array_equal(found[~numbers] | 1 << 22, wanted[~numbers] | 1 << 22)
    assert not out[:shift].any()
    assert not out[shift + 65_536 :].any()


@on_x86
@pytest.mark.parametrize(("loop", "kind"), [(past_caches.copy, np.uint32), (past_caches.extend, np.uint16)])
def test_lines_are_stored_by_the_instruction_for_it(loop: Any, kind: Any) -> None:
    anew = numba.njit(**OPTIONS)(loop.py_func)  # of a kept one there is nothing to look at
    anew(np.zeros(16, kind), np.zeros(16, np.uint32))
    assert "movnt" in anew.inspect_asm(anew.signatures[0])


@on_x86
def test_what_was_stored_is_seen_by_who_learns_of_it() -> None:
    """Telling another thread in Python takes instructions that wait for the stores, too: so the code is looked at."""
    fenced = numba.njit(**OPTIONS)(_with_a_fence)
    bare = numba.njit(**OPTIONS)(_without)
    word = np.zeros(1, np.uint32)
    fenced(word)
    bare(word)

    def waits(function: Any) -> bool:
        return bool(re.search(r"mfence|lock\s+orl", function.inspect_asm(function.signatures[0])))

    assert waits(fenced)
    assert not waits(bare)
    for loop, arguments in (
        (past_caches.extend, (EVERY[:16], np.zeros(16, np.uint32))),
        (rows_past_caches.expand_with_overlay, ROWS),
        (rows_past_caches.expand_with_positions, ROWS_AND_POSITIONS),
    ):
        anew = numba.njit(**OPTIONS)(loop.py_func)
        anew(*arguments)
        assert waits(anew), loop


def _with_a_fence(word: Any) -> None:
    word[0] = 1
    past_caches.fence()


def _without(word: Any) -> None:
    word[0] = 1
