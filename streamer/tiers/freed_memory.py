"""What the C library does with memory that was freed: it keeps some for the next layer, until it is told to let go."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_LIMIT_NBYTES = 256 << 20
"""More than a layer's largest result at 1024 x 1024 with guidance, in float32 (168 MB)."""

_OLD_LIMIT_NBYTES = 32 << 20
"""Older versions of glibc refuse to take larger blocks from the heap."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, as malloc.h has them
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")
_TUNABLES = ("glibc.malloc.trim_threshold", "glibc.malloc.mmap_threshold", "glibc.malloc.top_pad")


@functools.cache
def keep_freed_memory() -> bool:
    """From now on glibc uses what was freed again without asking the system; whether it could be told so.

    Else it gives a layer's results back to the system as soon as they are freed, and the next layer takes them page by
    page: 250,000 page faults in a step of SDXL with 512 x 512, two million with 1024 x 1024. It is of the whole
    process: blocks of up to 256 MiB (32 in older versions) come from its heap, where gaps between blocks in use stay;
    at the heap's end up to 256 MiB do. Nothing changes where the environment sets such limits of its own. May be called
    often. Source: ``mallopt(3)``.
    """
    if any(os.environ.get(name) for name in _VARIABLES):
        return False
    if any(name in os.environ.get("GLIBC_TUNABLES", "") for name in _TUNABLES):
        return False
    library = _glibc()
    if library is None:
        return False
    # Both: either one ends glibc's own adjusting of the two.
    larger_blocks = any(library.mallopt(_MMAP_THRESHOLD, nbytes) == 1 for nbytes in (_LIMIT_NBYTES, _OLD_LIMIT_NBYTES))
    return larger_blocks and library.mallopt(_TRIM_THRESHOLD, _LIMIT_NBYTES) == 1


def give_freed_back() -> None:
    """If freed memory is kept: whole free pages, wherever they lie, go back to the system.

    Source: ``malloc_trim(3)``.
    """
    if not keep_freed_memory.cache_info().currsize or not keep_freed_memory():
        return  # nobody asked for it, or it couldn't be had
    library = _glibc()
    if library is not None:
        library.malloc_trim(ctypes.c_size_t(0))


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library that this process has, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    names = ("gnu_get_libc_version", "mallopt", "malloc_trim")
    return library if all(hasattr(library, name) for name in names) else None
