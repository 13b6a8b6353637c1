"""The hop from storage into the system's page cache, made while a program does something else."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

JOIN_SECONDS = 1.5
"""Longest that closing waits; the reading ends after the piece that it is at."""

_PIECE_NBYTES = 8 << 20  # larger than what storage delivers at once: each piece is one wait for Python's lock


class ReadAhead:
    """While it is open, these files are read into the system's page cache, one after the other; a context manager.

    Owns a thread and a buffer of 8 MiB. Plain reads, not hints: Linux cuts a hint to what it reads ahead by itself. A
    file that can't be read is passed over: whoever opens it to use it tells why.

    Args:
        paths: of regular files, in the order in which they are read; others are passed over.
        most_nbytes: to read, of all files together.

    Attributes:
        read_nbytes: so far.
    """

    def __init__(self, paths: Sequence[Path], most_nbytes: int) -> None:
        self._paths = tuple(paths)
        self._left = most_nbytes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamer-read-ahead", daemon=True)
        self.read_nbytes = 0

    def close(self) -> None:
        """Ends the reading and waits for that, but not for slow storage: then it ends by itself. May be repeated."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)

    def wait(self) -> None:
        """Returns when all has been read that will be. Once this is open."""
        self._thread.join()

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        for path in self._paths:
            try:
                self._read(path)
            except (OSError, ValueError):  # a name that can't be one is the latter
                continue  # told by whoever opens it

    def _read(self, path: Path) -> None:
        with open(path, "rb", buffering=0, opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            buffer = memoryview(bytearray(_PIECE_NBYTES))
            while self._left > 0 and not self._stopped.is_set():
                n = file.readinto(buffer[: min(len(buffer), self._left)])
                if not n:
                    return
                self._left -= n
                self.read_nbytes += n


def _at_once(path: str, flags: int) -> int:
    """Opening a pipe doesn't wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
