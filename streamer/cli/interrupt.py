"""Ctrl-C, or being told to end, ends the program in time, even while a library computes and doesn't listen."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lzr2.temporary import remove_unfinished

SECONDS = 1.5
"""From the signal until the program is ended the hard way; what is orderly takes a few milliseconds."""

_INTERRUPTED = 130
# What a person, a service manager and a terminal that is closed send. Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def _end(number: int) -> None:
    """Ends the process with no regard to what it does, and no half-written file left of it."""
    remove_unfinished()
    # A live line may have hidden the cursor, and there is no time for who drew it to show it again.
    with contextlib.suppress(OSError, ValueError):  # of a terminal that has gone
        restored = "\r\x1b[2K\x1b[?25h" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{restored}Interrupted.\n")
        sys.stderr.flush()
    os._exit(128 + number)


@contextmanager
def ends_in_time(end: Callable[[int], None] = _end) -> Iterator[None]:
    """Inside the block, ``end`` is called when a signal to end hasn't led out of it after `SECONDS`.

    Ctrl-C, SIGTERM and SIGHUP all raise KeyboardInterrupt, unless the program does with them as it likes already. An
    exit with 130, of an interrupted program, becomes 128 + the signal's number. Leaving the block by a signal, no
    half-written file of this process is left.

    Python acts on a signal between two of its own steps only; one operation of a library can take longer than a person
    waits. So a thread of its own is told by the signal itself, through a socket. For the main thread.

    Args:
        end: told the signal's number; must not return.
    """
    told, teller = socket.socketpair()
    teller.setblocking(False)
    left = threading.Event()
    received: list[int] = []

    def watch() -> None:
        while number := told.recv(1):
            if number[0] in heard and not left.wait(SECONDS):
                end(number[0])

    def once(number: int, frame: Any) -> None:
        # Sent again, it would break off what ends in order; so from now on, to the process's end, none is heard.
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        received.append(number)
        raise KeyboardInterrupt

    defaults = (signal.default_int_handler, signal.SIG_DFL)
    handled = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) in defaults}
    heard = {signal.SIGINT, *handled}
    for number in handled:
        signal.signal(number, once)
    before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="streamer-interrupt", daemon=True)
    watcher.start()
    try:
        yield
    except SystemExit as ended:
        if ended.code == _INTERRUPTED and received:
            raise SystemExit(128 + received[0]) from None
        raise
    finally:
        left.set()
        if received:  # one that began to be written in the very moment of the signal isn't known to who wrote it
            remove_unfinished()
        signal.set_wakeup_fd(before)
        for number, handler in handled.items():
            if signal.getsignal(number) is once:
                signal.signal(number, handler)
        teller.close()  # the watcher reads the end of the stream
        watcher.join()
        told.close()
