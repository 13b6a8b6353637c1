"""A compiled loop that counts what is odd about overlay entries, for `verify`."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import numpy as np

from lzr2.compiled import compiled
from lzr2.kernels import U32, Array

_u32 = np.uint32


@compiled
def survey(words: U32, wide: bool, n_rows: int, n_columns: int, counts: Array) -> None:
    """Adds up what is odd about overlay entries, piece by piece.

    counts int64 [5]: entries outside the tensor, entries before their predecessor, entries at its place, values
    that aren't finite in float16, and the position of the last entry plus one (0 before the first piece).
    """
    step = 3 if wide else 2
    outside = back = same = infinite = 0
    last = counts[4]
    for e in range(words.size // step):
        if wide:
            row, column, value = np.int64(words[3 * e]), np.int64(words[3 * e + 1]), words[3 * e + 2]
        else:
            pair = words[2 * e]
            row, column, value = np.int64(pair & _u32(0xFFFF)), np.int64(pair >> _u32(16)), words[2 * e + 1]
        if row >= n_rows or column >= n_columns:
            outside += 1
            continue
        infinite += (value & _u32(0x7FFFFFFF)) >= _u32(0x477FF000)
        position = row * n_columns + column + 1
        if position <= last:
            if position == last:
                same += 1
            else:
                back += 1
        last = position
    counts[0] += outside
    counts[1] += back
    counts[2] += same
    counts[3] += infinite
    counts[4] = last
