"""A file's size shared out among its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lzr2 import layout
from lzr2.errors import EncodeError

_D = 8  # the block length that most tensors take; another is taken only where it is hardly larger at most
_SLACK = 1 / 128
_SLACK_NBYTES = 64


def allot(shapes: Mapping[str, tuple[int, ...]], nbytes: int) -> dict[str, int]:
    """Payload bytes for each tensor, so that the file has at most `nbytes`.

    Each gets what its lattice needs; what is left is shared by numbers of weights, so that all have the same share of
    their weights in the overlay. Raises EncodeError where nothing is left.
    """
    lattices = {key: _lattice_nbytes(shape) for key, shape in shapes.items()}
    headers = sum(_header_nbytes(key, shape) for key, shape in shapes.items())
    least = len(layout.MAGIC) + headers + sum(lattices.values())
    if nbytes < least:
        raise EncodeError("the size is too small for the lattices alone", found=nbytes, expected=f"{least} or more")
    weights = max(1, sum(math.prod(shape) for shape in shapes.values()))
    return {key: lattices[key] + (nbytes - least) * math.prod(shape) // weights for key, shape in shapes.items()}


def _header_nbytes(key: str, shape: tuple[int, ...]) -> int:
    return 4 + len(key.encode("utf-8", "surrogatepass")) + 4 + 4 * len(shape) + 1


def _lattice_nbytes(shape: tuple[int, ...]) -> int:
    """Bytes that hold the payload of any such tensor without overlay."""
    n_rows, n_columns = layout.rows_and_columns(shape)
    nbytes = 12 + layout.tables_nbytes(n_rows, _D) + 2 * n_rows * layout.blocks_needed(n_columns, _D)
    return nbytes + int(nbytes * _SLACK) + _SLACK_NBYTES
