"""Stretches of a program in which Python looks for no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it Python doesn't look for garbage in cycles; afterwards it does again, if it did before.

    For importing libraries and building models: that makes hundreds of thousands of objects and next to no garbage, and
    looking for some is a quarter of the time. May be nested. It is of the whole process: where two threads do this at
    once, the first to end it may end it for both.
    """
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.enable()
