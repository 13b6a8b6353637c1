"""Whether weights may be loaded now: at any time, or only while the compute thread waits for some."""

from __future__ import annotations


class Pauses:
    """Keeps workers from the processors while a block computes on them. Not thread-safe: its user locks.

    Torch divides an operation evenly over all processors and waits for the slowest: what a worker takes from one of
    them is lost on all. Where nothing has to be waited for but decoding, it costs less between blocks.

    Args:
        wanted: there shall be pauses; otherwise weights are always loaded ahead.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._in_memory = False
        self._awaited: int | None = None

    @property
    def are_over(self) -> bool:
        """Whether nothing may be loaded until the compute thread waits again."""
        return self._wanted and self._in_memory and self._awaited is None

    def know(self, *, in_memory: bool) -> None:
        """Whether all that is read again at each step is in memory. Storage is better asked ahead."""
        self._in_memory = in_memory

    def begin(self, block: int) -> bool:
        """The compute thread waits for this block. Whether that is new."""
        new, self._awaited = self._awaited != block, block
        return new

    def end(self, block: int) -> None:
        """This block is there."""
        if self._awaited == block:
            self._awaited = None
