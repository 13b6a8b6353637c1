"""Blocks as numbers: what is moved as one piece, how large it is, and where its tensors lie within it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 512
"""Bytes. What device allocators align to; another alignment can select another kernel and change the last bit."""


def align(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """The smallest multiple of ``alignment`` that is at least ``nbytes``."""
    return -(-nbytes // alignment) * alignment


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies within its block.

    Attributes:
        key: the tensor's name in the weights.
        shape: as the module has it.
        offset: bytes from the start of the block, a multiple of `ALIGNMENT`.
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
        nbytes: that the block takes on the device, padding included; a multiple of `ALIGNMENT`.
        pinned: it must always stay (the small rest, which has no turn of its own).
        runway: small and much computed: kept before others, so that others have time to arrive.
    """

    name: str
    tensors: tuple[TensorPlace, ...]
    nbytes: int
    pinned: bool = False
    runway: bool = False


def lay_out(
    name: str,
    tensors: Iterable[tuple[str, tuple[int, ...]]],
    itemsize: int,
    *,
    pinned: bool = False,
    runway: bool = False,
) -> Block:
    """A block whose tensors lie one after the other, each aligned as an allocator would.

    Args:
        name: of the block.
        tensors: key and shape of each.
        itemsize: bytes of one weight in the compute type.
    """
    places: list[TensorPlace] = []
    offset = 0
    for key, shape in tensors:
        nbytes = math.prod(shape) * itemsize
        places.append(TensorPlace(key, shape, offset, nbytes))
        offset = align(offset + nbytes)
    return Block(name, tuple(places), offset, pinned, runway)
