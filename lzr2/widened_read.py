"""Float16 values of a file, widened as they are read: one compiled loop, in which each piece is still in the cache.

In Python, each piece would give the interpreter lock away and take it back, twice; with several readers that costs as
much as the reading (docs/decisions/lzr2-past-caches.md).
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from lzr2 import kernels, past_caches
from lzr2.compiled import compiled

U32 = npt.NDArray[np.uint32]

IS_POSSIBLE = (
    kernels.CONVERTS_IN_HARDWARE
    and hasattr(os, "pread")
    and hasattr(time, "CLOCK_MONOTONIC")
    and sys.maxsize > 2**32  # an offset has 64 bits
)
"""Whether this system has what the loop calls, by the names that it calls them by."""

_PIECE_NBYTES = 1 << 16  # in a processor's own cache, with what becomes of it; larger ones aren't faster
_CLOCK = getattr(time, "CLOCK_MONOTONIC", 0)

# Functions of the C library: resolved by name when the loop is first run.
_pread: Any = types.ExternalFunction("pread", types.intp(types.intc, types.uintp, types.uintp, types.int64))
_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.intc(types.intc, types.uintp))


def read_widened(fd: int, offset: int, out: npt.NDArray[np.float32]) -> tuple[int, float]:
    """As many float16 values from `offset` as could be read go to `out`, exactly; returns how many, and the seconds
    spent in reading. Fewer than there is room for: the system refused something, and whoever reads on is told what.

    fd: of a file open for reading, that stays open meanwhile. out: one-dimensional, contiguous, aligned, writable.
    NaNs become quiet. Releases the GIL. Memory: 64 KiB.
    """
    past = out.nbytes >= past_caches.WORTH_NBYTES
    n, nanoseconds = _read(fd, offset, out.view(np.uint32), past, _CLOCK)
    return int(n), nanoseconds / 1e9


@compiled
def _read(fd: int, offset: int, out: U32, past: bool, clock: int) -> tuple[int, int]:
    halves = np.empty(_PIECE_NBYTES // 2, np.uint16)
    now = np.zeros(2, np.int64)  # seconds, nanoseconds
    nanoseconds = 0
    n = 0
    while n < out.size:
        wanted = min(halves.size, out.size - n)
        _clock_gettime(np.int32(clock), now.ctypes.data)
        began = now[0] * 1_000_000_000 + now[1]
        got = _pread(np.int32(fd), halves.ctypes.data, np.uintp(2 * wanted), np.int64(offset + 2 * n))
        _clock_gettime(np.int32(clock), now.ctypes.data)
        nanoseconds += now[0] * 1_000_000_000 + now[1] - began
        there = got // 2  # a read may end early; half a value is read again
        if there <= 0:
            break
        if past:
            past_caches.extend(halves[:there], out[n : n + there])
        else:
            past_caches.extend_near(halves[:there], out[n : n + there])
        n += there
    return n, nanoseconds
