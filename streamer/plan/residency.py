"""Which blocks stay: a fixed set, evenly spread round the cycle.

A cache that evicts what was used longest ago misses every time on a cycle that doesn't fit. A set that stays misses
only what doesn't fit, and no choice made on the way misses less than that (Belady 1966, applied to a cycle).

The set is a prefix of one fixed permutation. So a larger budget keeps a superset of what a smaller one keeps, and never
moves more bytes; and every prefix is evenly spread, because the permutation is a low-discrepancy sequence (van der
Corput 1935): of n blocks any k are never further apart than twice the even distance n / k.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamer.plan.block import Block
from streamer.plan.order import first_uses


def keep_order(blocks: Sequence[Block], order: Sequence[int]) -> tuple[int, ...]:
    """The blocks that have turns, in the order in which room is given to them: runway first, then evenly spread."""
    movable = [b for b in first_uses(order) if not blocks[b].pinned]
    runway = [b for b in movable if blocks[b].runway]
    others = [b for b in movable if not blocks[b].runway]
    return (*runway, *(others[i] for i in evenly_spread(len(others))))


def evenly_spread(n: int) -> tuple[int, ...]:
    """A permutation of ``range(n)`` of which every prefix is spread evenly over the whole range.

    The numbers in bit-reversed order of the next power of two, less those beyond ``n``. From each of the first ``k``
    to the next one, round the cycle, it is less than ``2 * n / k``.
    """
    bits = max(n - 1, 0).bit_length()
    reversed_numbers = (int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(1 << bits))
    return tuple(i for i in reversed_numbers if i < n)
