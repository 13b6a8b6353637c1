"""Brings files into the system's page cache while a program does something else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_PIECE_NBYTES = 8 << 20  # larger than what storage delivers at once: each piece is one wait for Python's lock


class ReadAhead:
    """While it is open, these files are read into the system's page cache, one after the other; a context manager.

    Owns a thread and a buffer of 8 MiB. Plain reads, not hints: Linux cuts a hint to what it reads ahead by itself. A
    file that can't be read is passed over: whoever opens it to use it tells why.

    Args:
        paths: of regular files, in the order in which they are read; others are passed over.
        most_nbytes: to read, of all files together.
    """

    def __init__(self, paths: Sequence[Path], most_nbytes: int) -> None:
        self._paths = tuple(paths)
        self._left = most_nbytes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamer-read-ahead", daemon=True)
        self.read_nbytes = 0

    def close(self) -> None:
        """Ends the reading and waits for it: at most for one piece. Further calls do nothing."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self) -> None:
        """Returns when all has been read that will be."""
        self._thread.join()

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        buffer = memoryview(bytearray(_PIECE_NBYTES))
        for path in self._paths:
            try:
                self._read(path, buffer)
            except (OSError, ValueError):  # a name that can't be one is the latter
                continue  # told by whoever opens it

    def _read(self, path: Path, buffer: memoryview) -> None:
        if not path.is_file():  # a pipe or a device may never end
            return
        with path.open("rb", buffering=0) as file:
            while self._left > 0 and not self._stopped.is_set():
                n = file.readinto(buffer[: min(len(buffer), self._left)])
                if not n:
                    return
                self._left -= n
                self.read_nbytes += n
