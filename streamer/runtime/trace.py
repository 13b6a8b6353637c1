"""The execution order, recorded while the model runs, and whether it calls for another plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class OrderTrace:
    """Notes the blocks of each forward, and tells when the plan should follow another order.

    A forward that only left blocks out is put up with once (a callback may skip some now and then), and followed when
    it comes again. Any other difference is followed at once.

    Args:
        planned: the order that the plan has.
    """

    def __init__(self, planned: Sequence[int]) -> None:
        self._planned = tuple(planned)
        self._seen: list[int] = []
        self._last_skip: tuple[int, ...] | None = None

    def begin(self) -> None:
        """A forward starts."""
        self._seen = []

    def note(self, block: int) -> None:
        """The block has its turn."""
        self._seen.append(block)

    def finish(self) -> tuple[int, ...] | None:
        """The forward ended. The order to plan for from now on, or None if the plan's will do."""
        seen, self._seen = tuple(self._seen), []
        if seen == self._planned or not seen:
            self._last_skip = None
            return None
        if _is_subsequence(seen, self._planned) and seen != self._last_skip:
            self._last_skip = seen
            return None
        self._last_skip = None
        self._planned = seen
        return seen


def _is_subsequence(part: Sequence[int], whole: Sequence[int]) -> bool:
    rest: Iterator[int] = iter(whole)
    return all(any(block == other for other in rest) for block in part)
