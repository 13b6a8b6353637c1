"""Seconds that mean the same on a busy machine: told by plain work that is done beside."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOPS = 300_000
_NOMINAL_SECONDS = 0.02
"""Of the plain work, on a processor that limits in seconds are meant for: 67 ns a turn. It is a definition; busy shared
virtual machines were seen to need 25 to 33 ms."""


def paced_seconds(run: Callable[[], object], tries: int = 5) -> float:
    """The least of some tries, each by how much slower than nominal plain work went just before and after it.

    A faster machine's seconds stay as they are.

    Args:
        run: what is timed.
        tries: how often.
    """
    found = []
    for _ in range(tries):
        before = _plain_seconds()
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        slowness = (before + _plain_seconds()) / 2 / _NOMINAL_SECONDS
        found.append(seconds / max(1.0, slowness))
    return min(found)


def _plain_seconds() -> float:
    began = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number * number
    return time.perf_counter() - began
