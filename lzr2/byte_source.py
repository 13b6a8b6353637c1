"""Bytes behind one small contract: checked ranges, whole reads or errors, read-ahead hints."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.errors import ClosedError, Lzr2Error, TruncatedError
from lzr2.widen import check_singles, widen

Bytes = npt.NDArray[np.uint8]
OnRead = Callable[[float, float, int], None]
"""Told of a read, on the thread that made it: start and end, seconds by `time.perf_counter`, and bytes.

Of a read in pieces, with other work between them, the end is the start and the seconds of all pieces.
"""

_PIECE_NBYTES = 1 << 20  # in a processor's own cache, and few enough pieces for Python


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

    def read_pieces(self, offset: int, nbytes: int) -> Iterator[tuple[int, Bytes]]:
        """The range in pieces, each with its start in the range and no longer there when the next one is asked for.

        What is made of a piece at once finds it in the processor's cache. Memory: 1 MiB. The range is checked when the
        first piece is asked for; raises as `read`.
        """
        self._check_range(offset, nbytes)
        memory = np.empty(min(nbytes, _PIECE_NBYTES), np.uint8)
        for start in range(0, nbytes, _PIECE_NBYTES):
            piece = memory[: nbytes - start]
            self.read_into(offset + start, piece)
            yield start, piece

    def read_widened_into(self, offset: int, out: npt.NDArray[np.float32]) -> None:
        """Fills `out` (one-dimensional, contiguous) with the float16 values from `offset`, exactly; NaNs stay NaNs."""
        check_singles(out)
        self._check_range(offset, out.nbytes // 2)
        for start, piece in self.read_pieces(offset, out.nbytes // 2):
            halves = piece.view(np.float16)
            widen(halves, out[start // 2 : start // 2 + halves.size])

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


def require_little_endian(byteorder: Any = sys.byteorder) -> None:
    """Raises Lzr2Error on a big-endian machine: sections are used as they lie in the file."""
    if byteorder != "little":
        raise Lzr2Error("LZR2 needs a little-endian machine", found=byteorder)
