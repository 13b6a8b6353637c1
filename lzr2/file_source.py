"""Bytes of a regular file: read by position, or mapped; with hints to the system of what is read next."""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lzr2.byte_source import Bytes, ByteSource
from lzr2.errors import ClosedError, IoFailedError, Lzr2Error, StaleFileError
from lzr2.regular_file import open_regular, outlast_clock_tick, read_failed, state_of
from lzr2.widen import check_singles

IoMode = Literal["auto", "mmap", "pread"]


class FileSource(ByteSource):
    """A regular file, and whether it is still what it was; owns its descriptor.

    path: of the file. Raises UnreadableFileError, IoFailedError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = open_regular(self.path)
        try:
            self.state = state_of(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise read_failed(self.path, error) from error
        super().__init__(os.fspath(path), self.state.nbytes)
        outlast_clock_tick(self.state)

    def check_unchanged(self) -> None:
        """Raises StaleFileError if the size, the time or the inode is another, or the path names another file."""
        with self.in_use():
            try:
                now = state_of(self._fd)
            except OSError as error:
                raise read_failed(self.path, error) from error
        was = self.state
        if now.n_links < was.n_links and not self._still_has_its_name():
            raise StaleFileError("the file was replaced or deleted while in use", path=self.name)
        if (now.nbytes, now.mtime_ns, now.inode) != (was.nbytes, was.mtime_ns, was.inode):
            raise StaleFileError("the file was rewritten or truncated while in use", path=self.name)

    def _still_has_its_name(self) -> bool:
        try:
            return self.path.stat().st_ino == self.state.inode
        except OSError:
            return False

    def will_need(self, offset: int, nbytes: int) -> None:
        """Starts reading the range into the page cache, as far as the system does: Linux cuts it to about what it reads
        ahead on that device."""
        self._advise(offset, nbytes, "POSIX_FADV_WILLNEED")

    def wont_need(self, offset: int, nbytes: int) -> None:
        """Lets the range's whole pages leave the page cache, where the system can."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = min(offset + nbytes, self.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if start < end:
            self._advise(start, end - start, "POSIX_FADV_DONTNEED")

    def _advise(self, offset: int, nbytes: int, name: str) -> None:
        advice = getattr(os, name, None)
        if advice is None or self._closed:
            return
        try:
            with self.in_use():
                os.posix_fadvise(self._fd, offset, nbytes, advice)
        except (OSError, ClosedError):
            return  # a hint

    def _read_short(self, offset: int, nbytes: int) -> bytes:
        if not hasattr(os, "pread"):
            return super()._read_short(offset, nbytes)
        try:
            return os.pread(self._fd, nbytes, offset)
        except OSError as error:
            raise read_failed(self.path, error, offset) from error

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class PreadSource(FileSource):
    """Positioned reads: no shared position, no mapping, so a file cut short is an error, never a signal."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._seek_lock = threading.Lock()

    def read_widened_into(self, offset: int, out: npt.NDArray[np.float32]) -> None:
        """As any source, without going back to Python for each piece."""
        from lzr2 import widened_read

        check_singles(out)
        self._check_range(offset, out.nbytes // 2)
        n = 0
        if widened_read.IS_POSSIBLE:
            started = time.perf_counter()
            with self.in_use():
                n, seconds = widened_read.read_widened(self._fd, offset, out)
            on_read = self.on_read
            if on_read is not None and n:
                on_read(started, started + seconds, 2 * n)
        if n < out.size:
            super().read_widened_into(offset + 2 * n, out[n:])

    def _fill(self, offset: int, out: Bytes) -> None:
        view = memoryview(out.data)
        done = 0
        while done < len(view):
            try:
                n = self._pread(view[done:], offset + done)
            except OSError as error:
                raise read_failed(self.path, error, offset + done) from error
            if n <= 0:  # the size was checked against the opened file: it has shrunk
                raise StaleFileError("the file was truncated while in use", path=self.name, offset=offset + done)
            done += n

    def _pread(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        with self._seek_lock:
            os.lseek(self._fd, offset, os.SEEK_SET)
            data = os.read(self._fd, min(len(view), 1 << 20))
        view[: len(data)] = data
        return len(data)


class MmapSource(FileSource):
    """The file mapped into memory. A file truncated by another program while mapped kills the process on
    access (SIGBUS): for files that nobody rewrites."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._map: mmap.mmap | None = None
        try:
            if self.nbytes:
                self._map = mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            super()._release()
            raise IoFailedError(f"the file can't be mapped ({error})", path=self.name) from error

    def done_with(self, offset: int, nbytes: int) -> None:
        """Lets the range's whole pages leave this process's memory; they stay in the page cache."""
        advice = getattr(mmap, "MADV_DONTNEED", None)
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = min(offset + nbytes, self.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if advice is None or start < 0 or end <= start or self._map is None:
            return
        try:
            with self.in_use():
                self._map.madvise(advice, start, end - start)
        except (OSError, ClosedError):
            return  # a hint

    def _fill(self, offset: int, out: Bytes) -> None:
        # The size is looked at right before: this narrows the window for SIGBUS, it doesn't close it.
        try:
            if os.fstat(self._fd).st_size < offset + out.nbytes:
                raise StaleFileError("the file was truncated while in use", path=self.name, offset=offset)
        except OSError as error:
            raise read_failed(self.path, error, offset) from error
        if self._map is not None and out.nbytes:
            np.copyto(out, np.frombuffer(self._map, np.uint8, out.nbytes, offset))

    def _release(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        super()._release()


def open_source(path: str | os.PathLike[str], io: IoMode = "auto") -> FileSource:
    """A source over a regular file; "auto" is pread (docs/decisions/lzr2-io.md). The caller closes it."""
    if io not in ("auto", "mmap", "pread"):
        raise Lzr2Error("unknown io mode", found=io, expected="auto, mmap or pread")
    return MmapSource(path) if io == "mmap" else PreadSource(path)
