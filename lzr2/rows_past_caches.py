"""Rows that are made in the cache, lattice and overlay, and stored past it: the output is written once and not read.

Expanding into the output and scattering the overlay over it moves each line of the output up to five times between
memory and caches (docs/decisions/lzr2-past-caches.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import past_caches
from lzr2.compiled import compiled
from lzr2.kernels import apply_overlay, expand, put

Array = npt.NDArray[Any]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]

_GROUP_NBYTES = 1 << 17  # of rows that are made at once, if they are shorter: in any processor's own cache
_LONGEST_ROW_NBYTES = 1 << 18

OUT_OF_ORDER = -1
"""Instead of an overlay's entry: a later one is for an earlier row, so the overlay has to be applied afterwards."""


def is_worth(out: Array) -> bool:
    """Whether rows of this output, patterns [R, N], are better stored past the caches."""
    return out.nbytes >= past_caches.WORTH_NBYTES and out.itemsize * out.shape[1] <= _LONGEST_ROW_NBYTES


@compiled
def expand_with_overlay(
    indices: U16,
    levels: Array,
    out: Array,
    d: int,
    limit: int,
    words: U32,
    wide: bool,
    table: U32,
    n_rows: int,
    first_row: int,
    entry: int,
) -> tuple[int, int]:
    """As `kernels.expand`, and the overlay's entries of these rows as `kernels.apply_overlay` applies them.

    indices uint16 [R, B]; levels [R, 3] and out [R, N]: patterns, of one type, of rows from `first_row` of a tensor of
    n_rows. words: of all of the overlay; the first `entry` entries were for rows before. table: as `apply_overlay`.
    Returns the first row with an index >= limit, or -1, and the first entry that wasn't applied, or OUT_OF_ORDER.
    """
    n, n_columns = out.shape
    step = 3 if wide else 2
    n_entries = words.size // step
    at_once = max(1, min(n, _GROUP_NBYTES // max(1, out.itemsize * n_columns)))
    rows = np.empty(at_once * n_columns, out.dtype)
    flat = out.reshape(-1)
    for a in range(0, n, at_once):
        b = min(n, a + at_once)
        group = rows[: (b - a) * n_columns]
        bad = expand(indices[a:b], levels[a:b], group.reshape(b - a, n_columns), d, limit)
        if bad >= 0:
            return a + bad, entry
        end = entry
        while entry != OUT_OF_ORDER and end < n_entries:
            row = np.int64(words[step * end]) if wide else np.int64(words[step * end] & np.uint32(0xFFFF))
            if row >= first_row + b:
                break
            if row < first_row + a:
                entry = OUT_OF_ORDER
            end += 1
        if entry != OUT_OF_ORDER and end > entry:
            part = words[step * entry : step * end]
            apply_overlay(part, wide, group, table, n_columns, n_rows, first_row + a, first_row + b)
            entry = end
        past_caches.copy(group, flat[a * n_columns : b * n_columns])
    past_caches.fence()
    return -1, entry


@compiled
def expand_with_positions(
    indices: U16, levels: Array, out: Array, d: int, limit: int, positions: Array, values: U16, table: U32, first: int
) -> int:
    """As `kernels.expand`, and an overlay of flat positions as `kernels.put` puts it.

    indices uint16 [R, B]; levels [R, 3] and out [R, N]: patterns, of one type. positions: unsigned, increasing; `first`
    is that of out's first element. values: float16 patterns. table: as `kernels.apply_overlay`.
    Returns the first row with an index >= limit, or -1.
    """
    n, n_columns = out.shape
    n_entries = min(positions.size, values.size)
    at_once = max(1, min(n, _GROUP_NBYTES // max(1, out.itemsize * n_columns)))
    rows = np.empty(at_once * n_columns, out.dtype)
    flat = out.reshape(-1)
    entry = 0
    for a in range(0, n, at_once):
        b = min(n, a + at_once)
        group = rows[: (b - a) * n_columns]
        bad = expand(indices[a:b], levels[a:b], group.reshape(b - a, n_columns), d, limit)
        if bad >= 0:
            return a + bad
        end = entry
        beyond = np.uint64(first + b * n_columns)
        while end < n_entries and np.uint64(positions[end]) < beyond:
            end += 1
        put(positions[entry:end], values[entry:end], group, table, first + a * n_columns)
        entry = end
        past_caches.copy(group, flat[a * n_columns : b * n_columns])
    past_caches.fence()
    return -1
