"""How modules that run in every step divide the room for weights, so that none drives the others out each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wants:
    """What a module can use.

    Attributes:
        smallest_nbytes: of weights that it can run with.
        total_nbytes: of all its weights; at least the smallest.
    """

    smallest_nbytes: int
    total_nbytes: int


def portions(room_nbytes: int, wants: Mapping[str, Wants]) -> dict[str, int] | None:
    """Bytes for each module's weights, together at most the room: its smallest, and its share of the rest by size.

    Args:
        room_nbytes: for the weights of all of them at one time.
        wants: by module.

    Returns None if not even the smallest fit together: they have to take turns.
    """
    rest = room_nbytes - sum(want.smallest_nbytes for want in wants.values())
    if rest < 0:
        return None
    more = sum(want.total_nbytes - want.smallest_nbytes for want in wants.values())
    rest = min(rest, more)
    return {
        name: want.smallest_nbytes + (rest * (want.total_nbytes - want.smallest_nbytes) // more if more else 0)
        for name, want in wants.items()
    }
