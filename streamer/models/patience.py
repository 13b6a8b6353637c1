"""A line for whoever waits, if there is something to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE = 1.0  # seconds before silence looks like a fault


@contextmanager
def told_if_slow(notify: Callable[[str], None], line: str, seconds: float = _PATIENCE) -> Iterator[None]:
    """The line is told, from another thread, if what is done inside takes longer than this; otherwise never.

    Args:
        notify: told the line.
        line: what takes its time.
        seconds: to wait before it is told.
    """
    timer = threading.Timer(seconds, notify, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
