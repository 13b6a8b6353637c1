"""Ctrl-C ends the program in time, even while a library computes and doesn't listen."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 1.5
"""From Ctrl-C until the program is ended the hard way; what is orderly takes a few milliseconds."""


def _end() -> None:
    sys.stderr.write("Interrupted.\n")
    sys.stderr.flush()
    os._exit(130)


@contextmanager
def ends_in_time(end: Callable[[], None] = _end) -> Iterator[None]:
    """Inside the block, ``end`` is called when Ctrl-C hasn't led out of it after `SECONDS`.

    Python acts on a signal between two of its own steps only; one operation of a library can take longer than a person
    waits. So a thread of its own is told by the signal itself, through a socket. For the main thread.
    """
    told, teller = socket.socketpair()
    teller.setblocking(False)
    left = threading.Event()

    def watch() -> None:
        while number := told.recv(1):
            if number[0] == signal.SIGINT and not left.wait(SECONDS):
                end()

    before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="streamer-interrupt", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        teller.close()  # the watcher reads the end of the stream
        watcher.join()
        told.close()
