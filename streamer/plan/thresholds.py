"""The budgets at which the answer changes: from which on one more block stays."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.plan.block import Block
from streamer.plan.budget import needs, smallest_budget


def thresholds(blocks: Sequence[Block], order: Sequence[int]) -> tuple[int, ...]:
    """Every budget whose resident set is larger than that of one byte less, in bytes, ascending.

    The first is the smallest that works. Between two of them a larger budget makes only the ring longer.

    Args:
        blocks: all blocks, as for `make_plan`.
        order: the number of the block of each turn of one step.
    """
    pinned = sum(b.nbytes for b in blocks if b.pinned)
    found: list[int] = []
    for need in needs(blocks, order):  # the most kept first: fewer count only where they need less
        if need.count and (not found or pinned + need.nbytes < found[-1]):
            found.append(pinned + need.nbytes)
    smallest = smallest_budget(blocks)
    larger = sorted(budget for budget in found if budget > smallest)
    return (smallest, *larger)


def thinned(budgets: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the budgets, the first and the last among them, the others evenly spread in between.

    Args:
        budgets: ascending.
        most: at least 2.
    """
    last = len(budgets) - 1
    if last < most:
        return tuple(budgets)
    return tuple(budgets[round(i * last / (most - 1))] for i in range(most))
