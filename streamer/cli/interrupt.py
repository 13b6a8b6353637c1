"""Ctrl-C ends the program in time, even while a library computes and doesn't listen."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 1.5
"""From Ctrl-C until the program is ended the hard way; what is orderly takes a few milliseconds."""


def _end() -> None:
    # A live line may have hidden the cursor, and there is no time for who drew it to show it again.
    restored = "\r\x1b[2K\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{restored}Interrupted.\n")
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

    def once(number: int, frame: Any) -> None:
        # Pressed again, it would break off what ends in order; so from now on, to the process's end, it isn't heard.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    handled = signal.getsignal(signal.SIGINT)
    if handled is signal.default_int_handler:
        signal.signal(signal.SIGINT, once)
    before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="streamer-interrupt", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        if signal.getsignal(signal.SIGINT) is once:
            signal.signal(signal.SIGINT, handled)
        teller.close()  # the watcher reads the end of the stream
        watcher.join()
        told.close()
