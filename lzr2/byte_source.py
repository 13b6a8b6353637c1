"""Bytes of one file behind one small contract: checked ranges, positioned reads, read-ahead hints."""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lzr2.errors import ClosedError, IoFailedError, Lzr2Error, StaleFileError, TruncatedError
from lzr2.regular_file import open_regular, outlast_clock_tick, read_failed, state_of
from lzr2.widen import check_singles, widen

Bytes = npt.NDArray[np.uint8]
IoMode = Literal["auto", "mmap", "pread"]
OnRead = Callable[[float, float, int], None]
"""Told of a read, on the thread that made it: start and end, seconds by `time.perf_counter`, and bytes.

Of a read in pieces, with other work between them, the end is the start and the seconds of all pieces.
"""

_WIDENED_AT_ONCE = 1 << 19  # values: in a processor's own cache, and few enough pieces for Python


class ByteSource(ABC):
    """Reads exactly what is asked or raises; safe to share between threads; closed by whoever made it."""

    def __init__(self, name: str, nbytes: int) -> None:
        self.name = name
        self.nbytes = nbytes
        self.on_read: OnRead | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def read(self, offset: int, nbytes: int) -> bytes:
        """Exactly `nbytes` bytes from `offset`; TruncatedError, before allocating, if they aren't there."""
        return self.read_array(offset, nbytes).tobytes()

    def has(self, *pieces: tuple[int, bytes]) -> bool:
        """Whether each piece lies at its offset; cheaper than to `read` and compare. Raises as `read`."""
        with self.in_use():
            for offset, piece in pieces:
                self._check_range(offset, len(piece))
                if self._read_short(offset, len(piece)) != piece:
                    return False
        return True

    def read_array(self, offset: int, nbytes: int) -> Bytes:
        """Exactly `nbytes` bytes from `offset`, as a fresh array."""
        self._check_range(offset, nbytes)
        out = np.empty(nbytes, np.uint8)
        self.read_into(offset, out)
        return out

    def read_into(self, offset: int, out: Bytes) -> None:
        """Fills `out` (contiguous uint8) from `offset`."""
        self._check_range(offset, out.nbytes)
        on_read = self.on_read
        started = time.perf_counter() if on_read is not None else 0.0
        self._enter()
        try:
            self._fill(offset, out)
        finally:
            self._leave()
        if on_read is not None:
            on_read(started, time.perf_counter(), out.nbytes)

    def read_widened_into(self, offset: int, out: npt.NDArray[np.float32]) -> None:
        """Fills `out` (one-dimensional, contiguous) with the float16 values from `offset`, exactly; NaNs stay NaNs."""
        check_singles(out)
        self._check_range(offset, out.nbytes // 2)
        halves = np.empty(min(out.size, _WIDENED_AT_ONCE), np.float16)
        for start in range(0, out.size, _WIDENED_AT_ONCE):
            target = out[start : start + _WIDENED_AT_ONCE]
            piece = halves[: target.size]
            self.read_into(offset + 2 * start, piece.view(np.uint8))
            widen(piece, target)

    def check_unchanged(self) -> None:  # noqa: B027 - memory can't change behind our back
        """Raises StaleFileError if the file was rewritten, truncated or replaced since it was opened."""

    def will_need(self, offset: int, nbytes: int) -> None:  # noqa: B027 - hints may do nothing
        """Hints that the range is read soon. Never fails, never reads past the end."""

    def done_with(self, offset: int, nbytes: int) -> None:  # noqa: B027 - hints may do nothing
        """Hints that the range isn't needed in this process's memory any more. Never fails."""

    def wont_need(self, offset: int, nbytes: int) -> None:  # noqa: B027 - hints may do nothing
        """Hints that the range won't be read again soon, by anyone: it may leave the page cache. Never fails."""

    def close(self) -> None:
        """Releases the file once reads in flight have ended. May be called twice."""
        with self._lock:
            self._closed = True
            if self._users == 0:
                self._release()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Holds the file open inside the block: a closed file's number may become another file's."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError("the file is closed", path=self.name, advice="Open it again.")
            self._users += 1

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._closed and self._users == 0:
                self._release()

    def _check_range(self, offset: int, nbytes: int) -> None:
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise TruncatedError(
                "the file ends too early",
                path=self.name,
                offset=offset,
                found=f"{max(0, self.nbytes - offset)} bytes",
                expected=f"{nbytes} bytes",
            )

    @abstractmethod
    def _fill(self, offset: int, out: Bytes) -> None: ...

    def _read_short(self, offset: int, nbytes: int) -> bytes:
        out = np.empty(nbytes, np.uint8)
        self._fill(offset, out)
        return out.tobytes()

    @abstractmethod
    def _release(self) -> None: ...


class BytesSource(ByteSource):
    """A file that is already in memory."""

    def __init__(self, data: bytes | bytearray | memoryview, name: str = "<bytes>") -> None:
        self._data = np.frombuffer(data, np.uint8)
        super().__init__(name, self._data.nbytes)

    def _fill(self, offset: int, out: Bytes) -> None:
        out[:] = self._data[offset : offset + out.nbytes]

    def _release(self) -> None:
        self._data = np.zeros(0, np.uint8)


class PreadSource(ByteSource):
    """Positioned reads: no shared position, no mapping, so a file cut short is an error, never a signal."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = open_regular(self.path)
        try:
            self.state = state_of(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise read_failed(self.path, error) from error
        self._seek_lock = threading.Lock()
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

    def will_need(self, offset: int, nbytes: int) -> None:
        """Starts reading the range into the page cache, where the system can."""
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

    def _read_short(self, offset: int, nbytes: int) -> bytes:
        if not hasattr(os, "pread"):
            return super()._read_short(offset, nbytes)
        try:
            return os.pread(self._fd, nbytes, offset)
        except OSError as error:
            raise read_failed(self.path, error, offset) from error

    def _pread(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        with self._seek_lock:
            os.lseek(self._fd, offset, os.SEEK_SET)
            data = os.read(self._fd, min(len(view), 1 << 20))
        view[: len(data)] = data
        return len(data)

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class MmapSource(PreadSource):
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

    def read_widened_into(self, offset: int, out: npt.NDArray[np.float32]) -> None:
        """As any source, from the mapping."""
        ByteSource.read_widened_into(self, offset, out)

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


def open_source(path: str | os.PathLike[str], io: IoMode = "auto") -> PreadSource:
    """A source over a regular file; "auto" is pread (docs/decisions/lzr2-io.md). The caller closes it."""
    if io not in ("auto", "mmap", "pread"):
        raise Lzr2Error("unknown io mode", found=io, expected="auto, mmap or pread")
    return MmapSource(path) if io == "mmap" else PreadSource(path)


def require_little_endian(byteorder: Any = sys.byteorder) -> None:
    """Raises Lzr2Error on a big-endian machine: sections are used as they lie in the file."""
    if byteorder != "little":
        raise Lzr2Error("LZR2 needs a little-endian machine", found=byteorder)
