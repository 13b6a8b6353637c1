"""Compiled loops of the lossy encoder: a row in the order of its values, in which a few searches tell what levels cost.

A table [3, N + 1] of float64 holds the values relative to the middle one; the sums of those before each; and the sums
of their squares.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled
from lzr2.kernels import U16, U32

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_u16 = np.uint16
_u32 = np.uint32
_f64 = np.float64


@compiled
def sort(row: U16, widened: F32, keys: U16, spare: U16, counts: U32, table: F64) -> tuple[int, float]:
    """Fills the table with the row's finite weights; returns how many there are, and the middle one.

    keys, spare: uint16 [N] and counts: uint32 [512] are for its use; the keys stay in the order of the weights.
    """
    counts[:] = _u32(0)
    n = 0
    for c in range(row.size):
        p = row[c]
        if (p & _u16(0x7C00)) != _u16(0x7C00):
            key = _u16(p ^ _u16(0xFFFF)) if p & _u16(0x8000) else _u16(p | _u16(0x8000))
            keys[n] = key
            counts[key & _u16(0xFF)] += _u32(1)
            counts[_u32(256) + _u32(key >> _u16(8))] += _u32(1)
            n += 1
    if n == 0:
        return 0, 0.0
    low = high = _u32(0)
    for i in range(256):
        counts[i], low = low, low + counts[i]
        counts[256 + i], high = high, high + counts[256 + i]
    for i in range(n):
        place = _u32(keys[i] & _u16(0xFF))
        spare[counts[place]] = keys[i]
        counts[place] += _u32(1)
    for i in range(n):
        place = _u32(256) + _u32(spare[i] >> _u16(8))
        keys[counts[place]] = spare[i]
        counts[place] += _u32(1)
    centre = _f64(widened[_pattern(keys[n >> 1])])
    for i in range(n):
        table[0, i] = _f64(widened[_pattern(keys[i])]) - centre
    _sum_up(table, n)
    return n, centre


@compiled
def _pattern(key: Any) -> Any:
    return _u16(key & _u16(0x7FFF)) if key & _u16(0x8000) else _u16(key ^ _u16(0xFFFF))


@compiled
def _sum_up(table: F64, n: int) -> None:
    """From the middle outwards: what lies far out doesn't cost the sums of the others their precision."""
    middle = n >> 1
    x = y = 0.0
    table[1, middle] = table[2, middle] = 0.0
    for i in range(middle, n):
        value = table[0, i]
        x += value
        y += value * value
        table[1, i + 1], table[2, i + 1] = x, y
    x = y = 0.0
    for i in range(middle - 1, -1, -1):
        value = table[0, i]
        x -= value
        y -= value * value
        table[1, i], table[2, i] = x, y


@compiled
def below(table: F64, n: int, x: Any) -> Any:
    """How many of the first n values (one or more) are less than x."""
    first, length = 0, n
    while length > 1:
        half = length >> 1
        if table[0, first + half - 1] < x:
            first += half
        length -= half
    return first + (table[0, first] < x)


@compiled
def look(table: F64, n: int, low: float, middle: float, high: float, limit: float) -> tuple[Any, ...]:
    """What three ascending levels cost: the sum of min(error², limit²); and each one's count and sum of weights."""
    first, second = (low + middle) / 2, (middle + high) / 2
    start0 = below(table, n, low - limit)
    if limit >= first - low:
        end0 = start1 = below(table, n, first)
    else:
        end0, start1 = below(table, n, low + limit), below(table, n, middle - limit)
    if limit >= second - middle:
        end1 = start2 = below(table, n, second)
    else:
        end1, start2 = below(table, n, middle + limit), below(table, n, high - limit)
    end2 = below(table, n, high + limit)
    n0, n1, n2 = end0 - start0, end1 - start1, end2 - start2
    s0, s1, s2 = table[1, end0] - table[1, start0], table[1, end1] - table[1, start1], table[1, end2] - table[1, start2]
    cost = (table[2, end0] - table[2, start0]) - 2 * low * s0 + n0 * low * low
    cost += (table[2, end1] - table[2, start1]) - 2 * middle * s1 + n1 * middle * middle
    cost += (table[2, end2] - table[2, start2]) - 2 * high * s2 + n2 * high * high
    outside = n - n0 - n1 - n2
    if outside > 0:
        cost += limit * limit * outside
    return cost, n0, n1, n2, s0, s1, s2
