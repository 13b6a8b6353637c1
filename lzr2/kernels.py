"""Compiled loops that release the GIL: expand rows, apply an overlay, round float32 to float16.

Importing this module imports numba; nothing is compiled until a loop is first called. Every loop checks
what it indexes with: arguments come from files.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
Array = npt.NDArray[Any]

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
_u32 = np.uint32
_at = np.uintp  # unsigned: numba then leaves out the check for negative indices


def _compiled(function: _F) -> _F:
    try:
        compiled: _F = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder can be written: compile in every process
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled


@numba.njit(inline="always")  # type: ignore[untyped-decorator, unused-ignore]
def _half_bits(v: Any) -> Any:
    """The float16 pattern of a float32 pattern: nearest, ties to even; NaN keeps its sign and top payload bits."""
    a = v & _u32(0x7FFFFFFF)
    sign = (v >> _u32(16)) & _u32(0x8000)
    if a - _u32(0x38800000) < _u32(0x477FF000 - 0x38800000):  # normal in float16
        return sign | ((a - _u32(0x38000000) + _u32(0xFFF) + ((a >> _u32(13)) & _u32(1))) >> _u32(13))
    if a >= _u32(0x477FF000):
        if a <= _u32(0x7F800000):
            return sign | _u32(0x7C00)
        payload = (a >> _u32(13)) & _u32(0x3FF)
        return sign | _u32(0x7C00) | (payload if payload != _u32(0) else _u32(1))
    if a <= _u32(0x33000000):  # at most half of the smallest subnormal
        return sign
    mantissa = (a & _u32(0x7FFFFF)) | _u32(0x800000)
    shift = _u32(126) - (a >> _u32(23))
    odd = (mantissa >> shift) & _u32(1)
    return sign | ((mantissa + (_u32(1) << (shift - _u32(1))) - _u32(1) + odd) >> shift)


@_compiled
def round_to_half(values: U32, out: U16) -> None:
    """out[i] = float16 pattern of float32 pattern values[i]."""
    for i in range(min(values.size, out.size)):
        out[i] = _half_bits(values[i])


@_compiled
def expand(indices: U16, levels: Array, out: Array, d: int, limit: int) -> int:
    """Writes the lattice rows: out[r, c] = levels[r, digit]. Returns the first row with an index >= limit, or -1.

    indices uint16 [R, B]; levels [R, 3] of out's type; out [R, N] uint16 (float16 patterns) or float32.
    Columns that the blocks don't reach get digit 0, which is levels[r, 1].
    """
    n_rows, n_blocks = indices.shape
    n_columns = out.shape[1]
    whole = min(n_blocks, n_columns // d)
    groups = (d + 3) // 4  # of four digits; the first may have fewer
    top = d - 4 * (groups - 1)
    table = np.empty(324, out.dtype)  # 81 entries of four values
    for r in range(n_rows):
        row_indices = indices[r]
        row = out[r]
        worst = _u32(0)
        for b in range(n_blocks):
            worst = max(worst, _u32(row_indices[b]))
        if worst >= limit:
            return r
        low, middle, high = levels[r, 0], levels[r, 1], levels[r, 2]
        if n_blocks * groups < 24:  # too short a row to be worth a table
            for b in range(whole):
                i = _u32(row_indices[b])
                for k in range(d - 1, -1, -1):
                    q = i // _u32(3)
                    digit = i - q * _u32(3)
                    row[b * d + k] = low if digit == 0 else (middle if digit == 1 else high)
                    i = q
        else:
            for entry in range(81):
                rest = entry
                for k in range(3, -1, -1):
                    which = rest % 3
                    table[entry * 4 + k] = low if which == 0 else (middle if which == 1 else high)
                    rest //= 3
            if d == 8:
                _expand_eights(row_indices, table, row, whole)
            else:
                _expand_groups(row_indices, table, row, whole, d, groups, top)
        done = whole * d
        if whole < n_blocks and done < n_columns:  # the block that the row's end cuts
            cut = _u32(row_indices[whole])
            for k in range(d - 1, -1, -1):
                q = cut // _u32(3)
                digit = cut - q * _u32(3)
                if done + k < n_columns:
                    row[done + k] = low if digit == 0 else (middle if digit == 1 else high)
                cut = q
            done = n_columns
        for c in range(done, n_columns):
            row[c] = middle
    return -1


@_compiled
def _expand_eights(row_indices: U16, table: Array, row: Array, n_blocks: int) -> None:
    for b in range(n_blocks):
        i = _u32(row_indices[b])
        quotient = i // _u32(81)
        h = _at(quotient) * _at(4)
        t = _at(i - quotient * _u32(81)) * _at(4)
        o = _at(b) * _at(8)
        # All eight are loaded before any is stored: the compiler makes two 64-bit moves of them.
        a0, a1, a2, a3 = table[h], table[h + _at(1)], table[h + _at(2)], table[h + _at(3)]
        b0, b1, b2, b3 = table[t], table[t + _at(1)], table[t + _at(2)], table[t + _at(3)]
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = a0, a1, a2, a3
        row[o + _at(4)], row[o + _at(5)], row[o + _at(6)], row[o + _at(7)] = b0, b1, b2, b3


@_compiled
def _expand_groups(row_indices: U16, table: Array, row: Array, n_blocks: int, d: int, groups: int, top: int) -> None:
    for b in range(n_blocks):
        i = _u32(row_indices[b])
        o = _at(b * d + d)
        for _ in range(groups - 1):
            quotient = i // _u32(81)
            t = _at(i - quotient * _u32(81)) * _at(4)
            o -= _at(4)
            a0, a1, a2, a3 = table[t], table[t + _at(1)], table[t + _at(2)], table[t + _at(3)]
            row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = a0, a1, a2, a3
            i = quotient
        t = _at(i) * _at(4) + _at(4 - top)
        o -= _at(top)
        for k in range(top):
            row[o + _at(k)] = table[t + _at(k)]


@_compiled
def apply_overlay(
    words: U32, wide: bool, widened: Array, out: Array, n_columns: int, n_rows: int, first_row: int, end_row: int
) -> int:
    """Writes overlay entries of rows [first_row, end_row) into `out`, in order.

    words: the entries as uint32, two each, or three if `wide`. out: those rows, flat; uint16 or float32.
    widened: the float32 value of every float16 pattern if out is float32, else empty.
    Returns how many entries lie in the tensor, but not in these rows.
    """
    step = 3 if wide else 2
    elsewhere = 0
    columns = _at(n_columns)
    first = _at(first_row)
    n_own = _at(max(0, min(end_row, n_rows) - first_row))
    for e in range(words.size // step):
        if wide:
            row, column, value = _at(words[3 * e]), _at(words[3 * e + 1]), words[3 * e + 2]
        else:
            pair = words[2 * e]
            row, column, value = _at(pair & _u32(0xFFFF)), _at(pair >> _u32(16)), words[2 * e + 1]
        if column < columns:
            own = row - first
            if own < n_own:
                bits = _half_bits(value)
                if widened.size:
                    out[own * columns + column] = widened[bits]
                else:
                    out[own * columns + column] = bits
            elif row < _at(n_rows):
                elsewhere += 1
    return elsewhere


@_compiled
def put(positions: Array, values: Array, out: Array, first: int) -> None:
    """out[positions - first] = values; positions outside `out` are ignored. positions: unsigned [n]."""
    n = _at(out.size)
    for e in range(min(positions.size, values.size)):
        at = _at(positions[e]) - _at(first)
        if at < n:
            out[at] = values[e]


@_compiled
def locate(words: U32, wide: bool, n_rows: int, n_columns: int, positions: Array, values: U16) -> int:
    """Flat positions and float16 patterns of the entries within the tensor, in order; returns how many."""
    step = 3 if wide else 2
    n = 0
    for e in range(words.size // step):
        if wide:
            row, column, value = _at(words[3 * e]), _at(words[3 * e + 1]), words[3 * e + 2]
        else:
            pair = words[2 * e]
            row, column, value = _at(pair & _u32(0xFFFF)), _at(pair >> _u32(16)), words[2 * e + 1]
        if column < _at(n_columns) and row < _at(n_rows):
            positions[n] = row * _at(n_columns) + column
            values[n] = _half_bits(value)
            n += 1
    return n
