"""How much of a file the system's page cache holds, and taking it out."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

_PROT_READ, _MAP_SHARED = 1, 1


def files_below(*places: Path) -> list[Path]:
    """The files themselves, and all files in directories, links followed; each file once, whatever its names."""
    found: dict[tuple[int, int], Path] = {}
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                seen = path.stat()
                found.setdefault((seen.st_dev, seen.st_ino), path.resolve())
    return list(found.values())


def drop(files: Iterable[Path]) -> bool:
    """Takes the files out of the page cache, as far as no process has them mapped; False where that isn't possible."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)  # what isn't written yet stays otherwise
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return True


def cached_nbytes(files: Iterable[Path]) -> int | None:
    """Bytes of the files that are in the page cache; None where the system doesn't tell."""
    if not hasattr(os, "posix_fadvise"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    total = 0
    for path in files:
        nbytes = path.stat().st_size
        if nbytes == 0:
            continue
        pages = -(-nbytes // mmap.PAGESIZE)
        seen = ctypes.create_string_buffer(pages)
        fd = os.open(path, os.O_RDONLY)
        try:
            address = libc.mmap(None, nbytes, _PROT_READ, _MAP_SHARED, fd, 0)
            if address in (None, ctypes.c_void_p(-1).value):
                return None
            failed = libc.mincore(address, nbytes, seen)
            libc.munmap(address, nbytes)
            if failed:
                return None
        finally:
            os.close(fd)
        total += min(nbytes, sum(byte & 1 for byte in seen.raw) * mmap.PAGESIZE)
    return total
