"""How the time of one load divides into reading and decoding: reads report themselves on the thread that loads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Reads:
    """What one thread read since it was last asked.

    Attributes:
        nbytes: of all reads.
        seconds: of all reads.
        spans: start, end and bytes of each, seconds by `time.perf_counter`; neighbours are joined.
    """

    nbytes: int = 0
    seconds: float = 0.0
    spans: list[tuple[float, float, int]] = field(default_factory=list)


_JOIN_SECONDS = 50e-6


class LoadTimer(threading.local):
    """Collects the reads of each thread apart from the others'. `note` is what a source calls after each read."""

    def __init__(self) -> None:
        self._reads = Reads()

    def note(self, start: float, end: float, nbytes: int) -> None:
        """The calling thread read so many bytes from storage."""
        reads = self._reads
        reads.nbytes += nbytes
        reads.seconds += end - start
        if reads.spans and start - reads.spans[-1][1] < _JOIN_SECONDS:
            first, _, before = reads.spans[-1]
            reads.spans[-1] = (first, end, before + nbytes)
        else:
            reads.spans.append((start, end, nbytes))

    def take(self) -> Reads:
        """What the calling thread read since it last called this."""
        reads, self._reads = self._reads, Reads()
        return reads
