"""Memory that nobody needs any more, but that the C library still has from the system."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


def give_back() -> None:
    """What was freed and lies between what is still needed is the system's again, where the C library can do that.

    glibc keeps it for whoever asks next, but results of other sizes may not fit in. With another C library nothing
    happens. Whoever asks next takes the pages from the system anew. Thread-safe. Source: malloc_trim(3).
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl has none
        return None
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    found: Callable[[int], int] = trim
    return found
