"""The execution order: which block has its turn when, step after step, and what follows what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def first_uses(order: Sequence[int]) -> tuple[int, ...]:
    """Each block of the order once, by its first turn."""
    return tuple(dict.fromkeys(order))


def streamed_turns(order: Sequence[int], resident: Iterable[int]) -> tuple[int, ...]:
    """The blocks that have to arrive during a step, in order; a block with two turns arrives twice."""
    kept = frozenset(resident)
    return tuple(block for block in order if block not in kept)


def neighbours(turns: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of blocks that are next to each other in time; the last is followed by the first (the next step)."""
    return tuple((a, turns[(i + 1) % len(turns)]) for i, a in enumerate(turns))


def next_turn(order: Sequence[int], block: int, start: int) -> int | None:
    """The next turn number, at or after ``start``, that is the block's; None where it has none.

    Turn numbers count on over the steps: turn ``t`` is ``order[t % len(order)]``.
    """
    n = len(order)
    for turn in range(start, start + n):
        if order[turn % n] == block:
            return turn
    return None
