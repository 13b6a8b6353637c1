"""How much of a file is in the system's page cache, and dropping it from there: never claimed without looking."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Range = tuple[int, int]
"""Offset and bytes."""


def resident_share(path: Path, ranges: Sequence[Range]) -> float | None:
    """The share of the ranges' pages that is in the page cache, 0 to 1; None where the system doesn't tell.

    Linux tells it of files that this user owns or may write, on file systems that can map files.

    Args:
        path: of a regular file.
        ranges: inside the file.
    """
    if sys.platform != "linux" or not _may_ask(path):
        return None
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with contextlib.closing(mapped):
            return _share(mapped, ranges)
    except (OSError, ValueError):  # not every file system can map, and a file may have become empty
        return None


def drop(path: Path, ranges: Sequence[Range]) -> bool:
    """Asks the system to let the ranges leave its page cache. Returns whether it can be asked at all.

    It may keep them all the same: look with `resident_share`.

    Args:
        path: of a regular file.
        ranges: inside the file; whole pages are dropped, at the edges also those of neighbours.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system has it
            os.fsync(fd)  # what isn't written yet stays otherwise
        for offset, nbytes in ranges:
            first = offset // mmap.PAGESIZE * mmap.PAGESIZE
            end = -(-(offset + nbytes) // mmap.PAGESIZE) * mmap.PAGESIZE
            os.posix_fadvise(fd, first, end - first, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _may_ask(path: Path) -> bool:
    """Of others' files the system says that everything is there."""
    return path.stat().st_size > 0 and (path.stat().st_uid == os.geteuid() or os.access(path, os.W_OK))


def _share(mapped: mmap.mmap, ranges: Sequence[Range]) -> float | None:
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    pages = resident = 0
    whole = np.frombuffer(mapped, np.uint8)
    try:
        for offset, nbytes in ranges:
            first, end = offset // mmap.PAGESIZE * mmap.PAGESIZE, min(offset + nbytes, whole.nbytes)
            if end <= first:
                continue
            told = np.zeros(-(-(end - first) // mmap.PAGESIZE), np.uint8)
            if mincore(whole.ctypes.data + first, end - first, told.ctypes.data):
                return None
            pages += told.size
            resident += int((told & 1).sum())
    finally:
        del whole  # or the mapping couldn't be closed
    return resident / pages if pages else 0.0
