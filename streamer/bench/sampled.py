"""Seconds of many pieces of work, by timing one piece of each kind: those that matter most first, within a time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
_MOST_RUNS = 5


@dataclass(frozen=True)
class Kind(Generic[K]):
    """Pieces of work that take equally long for each unit of size.

    Attributes:
        key: of the kind.
        size: of the piece that is timed, in any unit that the seconds grow with.
        total_size: of all pieces of the kind together.
        prepare: gives what does the work and returns its seconds; not timed.
    """

    key: K
    size: float
    total_size: float
    prepare: Callable[[], Callable[[], float]]


def seconds_per_size(kinds: Sequence[Kind[K]], seconds: float) -> dict[K, float]:
    """Seconds for each unit of size, by kind. Takes about ``seconds``, or as long as the largest kind's first run.

    The median of a few runs, less the first if there are others: that one also makes ready what later ones find.
    Kinds that there was no time for are given the rate of all that were timed together.

    Args:
        kinds: to be timed.
        seconds: for all together; each gets its share of it.
    """
    started = time.perf_counter()
    everything = math.fsum(kind.total_size for kind in kinds) or 1.0
    found: dict[K, float] = {}
    timed_seconds = timed_size = 0.0
    for kind in sorted(kinds, key=lambda kind: -kind.total_size):
        if found and time.perf_counter() - started >= seconds:
            break
        measured = _timed(kind.prepare(), seconds * kind.total_size / everything)
        found[kind.key] = measured / max(kind.size, 1.0)
        timed_seconds += measured / max(kind.size, 1.0) * kind.total_size
        timed_size += kind.total_size
    rate = timed_seconds / timed_size if timed_size else 0.0
    return {kind.key: found.get(kind.key, rate) for kind in kinds}


def _timed(work: Callable[[], float], seconds: float) -> float:
    """The median of as many runs as fit into the time, at least one and at most five, without the first of several."""
    started = time.perf_counter()
    runs: list[float] = []
    while not runs or (
        len(runs) < _MOST_RUNS and (time.perf_counter() - started) * (len(runs) + 1) < seconds * len(runs)
    ):
        runs.append(work())
    return statistics.median(runs[1:] or runs)
