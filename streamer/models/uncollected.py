"""Stretches of a program in which Python looks for no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it Python doesn't look for garbage in cycles; afterwards it does again, if it did before.

    For a few seconds of importing libraries, building models and compiling: that makes hundreds of thousands of objects
    and little garbage, and looking for some is a quarter of the time. All that there is then is taken for long-lived,
    unless the program froze something: looks at what is young pass over it. May be nested. It is of the whole process,
    so not around a download; where two threads do this at once, the first to end it may end it for both.
    """
    looks = gc.isenabled()
    try:
        if looks:
            gc.collect(1)  # what is garbage already shall not be taken for long-lived
            gc.disable()
        yield
    finally:
        try:
            if looks and not gc.get_freeze_count():  # else this would thaw what the program froze
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
        finally:
            if looks:
                gc.enable()
