"""Blocks as numbers: what is moved as one piece, how large it is, and where its tensors lie within it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamer.plan.alignment import align
from streamer.plan.packed import InflatedSizes, PackedForm, pack


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies within its block.

    Attributes:
        key: the tensor's name in the weights.
        shape: as the module has it.
        offset: bytes from the start of the block, a multiple of `alignment.ALIGNMENT`.
        nbytes: of the tensor in the compute type, without padding.
    """

    key: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Block:
    """The unit of residency and movement.

    Attributes:
        name: of the module, unique in the plan.
        tensors: in the order in which they are loaded.
        nbytes: that the block takes on the device, padding included; a multiple of `alignment.ALIGNMENT`.
        pinned: it must always stay (the small rest, which has no turn of its own).
        runway: small and much computed: kept before others, so that others have time to arrive.
        packed: the form of fewer bytes in which it can move and be kept; None if there is none.
    """

    name: str
    tensors: tuple[TensorPlace, ...]
    nbytes: int
    pinned: bool = False
    runway: bool = False
    packed: PackedForm | None = None


def lay_out(
    name: str,
    tensors: Iterable[tuple[str, tuple[int, ...]]],
    itemsize: int,
    *,
    pinned: bool = False,
    runway: bool = False,
    inflated: Sequence[InflatedSizes | None] = (),
) -> Block:
    """A block whose tensors lie one after the other, each aligned as an allocator would.

    Args:
        name: of the block.
        tensors: key and shape of each.
        itemsize: bytes of one weight in the compute type.
        pinned: see `Block`.
        runway: see `Block`.
        inflated: sizes of each tensor in its inflated form, where it has one; empty: the device can't expand them.
    """
    places: list[TensorPlace] = []
    offset = 0
    for key, shape in tensors:
        nbytes = math.prod(shape) * itemsize
        places.append(TensorPlace(key, shape, offset, nbytes))
        offset = align(offset + nbytes)
    packed = pack([place.nbytes for place in places], inflated) if inflated else None
    return Block(name, tuple(places), offset, pinned, runway, packed)
