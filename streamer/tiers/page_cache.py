"""What stays in the system's page cache: a fixed set, so that a file larger than memory doesn't wash everything out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def keys_to_drop(stored: Mapping[str, int], groups: Sequence[Sequence[str]], budget_nbytes: int) -> frozenset[str]:
    """The keys whose bytes should leave the page cache once read; none if the whole file fits into the budget.

    The system evicts what was used longest ago, and so, on a cycle that doesn't fit, misses every time and evicts other
    programs' pages as well. A set that stays hits at each step.

    Args:
        stored: bytes in the file of each tensor.
        groups: the keys that are read again at each step, block by block, those that should stay first.
        budget_nbytes: of page cache. What isn't in ``groups`` is read once, and stays only if everything fits.
    """
    if sum(stored.values()) <= budget_nbytes:
        return frozenset()
    room = budget_nbytes
    staying: set[str] = set()
    for keys in groups:
        room -= sum(stored[key] for key in keys)
        if room < 0:
            break
        staying.update(keys)
    return frozenset(stored) - staying
