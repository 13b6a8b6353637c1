"""Compiled loops of the encoder: how far weights are from their levels, and the overlay entries of some of them."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled
from lzr2.kernels import U16, U32

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_u32 = np.uint32
_at = np.uintp
_INFINITE = 0x7F800000
_NOT_A_NUMBER = 0x7FFFFFFF  # an error larger than every number


@compiled
def _error_bits(pattern: Any, level: Any, widened: F32, one: F32, one_bits: U32) -> Any:
    """The error, rounded up, as the pattern of a float32 not below 0: 0 if equal, at least 1 if not.

    NaN is above all numbers. The difference of two float16 numbers is exact in float64, but not always in float32.
    """
    if pattern == level:
        return _u32(0)
    error = abs(np.float64(widened[pattern]) - np.float64(widened[level]))
    one[0] = error
    bits = _u32((one_bits[0] & _u32(0x7FFFFFFF)) + _u32(np.float64(one[0]) < error))
    return max(_u32(1), _u32(_NOT_A_NUMBER) if bits > _u32(_INFINITE) else bits)


@compiled
def error_histogram(patterns: U16, levels: U16, digits: U8, widened: F32, prefix: int, counts: Any) -> None:
    """Adds the errors' upper 16 bits to counts [65536]; with prefix >= 0, the lower 16 of those with these upper."""
    one = np.empty(1, np.float32)
    one_bits = one.view(np.uint32)
    for r in range(patterns.shape[0]):
        for c in range(patterns.shape[1]):
            bits = _error_bits(patterns[r, c], levels[r, digits[r, c]], widened, one, one_bits)
            if prefix < 0:
                counts[bits >> _u32(16)] += 1
            elif (bits >> _u32(16)) == _u32(prefix):
                counts[bits & _u32(0xFFFF)] += 1


@compiled
def find_entries(
    patterns: U16,
    levels: U16,
    digits: U8,
    widened: F32,
    threshold: Any,
    ties: I64,
    first_row: int,
    first_column: int,
    wide: bool,
    words: U32,
) -> int:
    """Writes an overlay entry for every weight whose error exceeds `threshold`, in order; returns words written.

    ties: int64 [1]: of the weights with just that error, so many more get one; counted down. words: uint32, room for
    one entry a weight. first_row, first_column: place of patterns[0, 0] in the tensor.
    """
    one = np.empty(1, np.float32)
    one_bits = one.view(np.uint32)
    value_bits = widened.view(np.uint32)
    n = _at(0)
    for r in range(patterns.shape[0]):
        row, row_digits, row_levels = patterns[r], digits[r], levels[r]
        number = _u32(first_row + r)
        for c in range(row.size):
            p = row[c]
            level = row_levels[row_digits[c]]
            if p == level:
                continue
            if threshold != _u32(0):
                bits = _error_bits(p, level, widened, one, one_bits)
                if bits < threshold:
                    continue
                if bits == threshold:
                    if ties[0] == 0:
                        continue
                    ties[0] -= 1
            column = _u32(first_column + c)
            if wide:
                words[n] = number
                words[n + _at(1)] = column
                words[n + _at(2)] = value_bits[p]
                n += _at(3)
            else:
                words[n] = number | (column << _u32(16))
                words[n + _at(1)] = value_bits[p]
                n += _at(2)
    return int(n)
