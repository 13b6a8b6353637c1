"""What the C library does with memory that was freed: it keeps some for the next layer, until it is told to let go."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_KEPT_NBYTES = 256 << 20
"""Larger than a layer's results at 1024 x 1024, which every layer needs anew."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, as malloc.h has them
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@functools.cache
def keep_freed_memory() -> bool:
    """From now on what is freed is used again without asking the system, up to 256 MiB; whether that could be had.

    glibc gives a layer's results back to the system as soon as they are freed, and the next layer takes them page by
    page: 250,000 page faults in a step of SDXL with 512 x 512, two million with 1024 x 1024. It is of the whole
    process. Nothing changes with another C library, nor where the environment sets such limits of its own. May be
    called often. Source: ``mallopt(3)``.
    """
    if any(os.environ.get(name) for name in _VARIABLES) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    library = _glibc()
    if library is None:
        return False
    # Both, and large blocks first: either one ends glibc's own adjusting of the two.
    return all(library.mallopt(limit, _KEPT_NBYTES) == 1 for limit in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def give_freed_back() -> None:
    """What was freed and kept goes back to the system, as far as whole pages are free; a few milliseconds.

    Source: ``malloc_trim(3)``. Nothing happens with another C library.
    """
    library = _glibc()
    if library is not None:
        library.malloc_trim(ctypes.c_size_t(0))


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library that this process has, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
