"""Compiled loops that release the GIL: expand rows, apply an overlay, round float32 to float16.

What is written are patterns: of float16 as uint16, or of the same values widened to float32 as uint32. Each loop is
compiled for the type of the array that it writes to.

Importing this module imports numba; nothing is compiled until a loop is first called. Every loop checks
what it indexes with: arguments come from files.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import llvmlite.ir  # type: ignore[import-untyped]
import numba
import numba.extending
import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
Array = npt.NDArray[Any]

_OVERLOAD: dict[str, Any] = {"jit_options": {"boundscheck": False, "error_model": "numpy"}, "strict": False}
_u32 = np.uint32
_BATCH = 2048  # entries rounded at once
_NO_ROW = 2**64 - 1
_at = np.uintp  # unsigned: numba then leaves out the check for negative indices


@compiled
def half_bits(v: Any) -> Any:
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


def _converts_in_hardware() -> bool:
    """Whether the processor can convert float16 itself (if not, LLVM would call a function that isn't there)."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        return bool(llvmlite.binding.get_host_cpu_features().get("f16c", False))
    except RuntimeError:
        return False


@numba.extending.intrinsic
def _truncate(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = builder.bitcast(arguments[0], llvmlite.ir.FloatType())
        return builder.bitcast(builder.fptrunc(single, llvmlite.ir.HalfType()), llvmlite.ir.IntType(16))

    return numba.types.uint16(numba.types.uint32), generate


CONVERTS_IN_HARDWARE = _converts_in_hardware()
_to_half: Any = _truncate if CONVERTS_IN_HARDWARE else half_bits


@compiled
def round_to_half(values: U32, out: U16) -> None:
    """out[i] = float16 pattern of float32 pattern values[i]."""
    for i in range(min(values.size, out.size)):
        out[i] = half_bits(values[i])


@compiled
def _digits(index: Any, low: Any, middle: Any, high: Any, out: Array, start: int, n: int) -> None:
    """out[start : start + n] = the patterns of the last n digits of an index."""
    i = _u32(index)
    for k in range(start + n - 1, start - 1, -1):
        q = i // _u32(3)
        digit = i - q * _u32(3)
        out[k] = low if digit == _u32(0) else (middle if digit == _u32(1) else high)
        i = q


def _picks(top: int) -> U32:
    """Which level each value of a table is, as masks [3, 324]: 81 entries of four values, one level's bits each set.

    An entry is the last `top` of its number's four digits; what follows them is overwritten, and repeats the last.
    """
    entries, places = np.arange(81)[:, None], np.minimum(3, np.arange(4) + 4 - top)
    digits = entries // 3 ** (3 - places) % 3
    masks: U32 = np.where(digits.reshape(1, -1) == np.arange(3)[:, None], _u32(0xFFFFFFFF), _u32(0))
    return masks


_PICKS = np.stack([_picks(top) for top in (1, 2, 3, 4)])


@compiled
def _fill_table(low: Any, middle: Any, high: Any, picks: U32, table: Array) -> None:
    """table[i] = the level that the masks pick: without a branch, so that it costs less than the row it is for."""
    for i in range(table.size):
        table[i] = (low & picks[0, i]) | (middle & picks[1, i]) | (high & picks[2, i])


@compiled
def expand(indices: U16, levels: Array, out: Array, d: int, limit: int) -> int:
    """Writes the lattice rows: out[r, c] = levels[r, digit]. Returns the first row with an index >= limit, or -1.

    indices uint16 [R, B]; levels [R, 3] and out [R, N]: patterns, of one type.
    Columns that the blocks don't reach get digit 0, which is levels[r, 1].
    """
    n_rows, n_blocks = indices.shape
    n_columns = out.shape[1]
    whole = min(n_blocks, n_columns // d)
    groups = (d + 3) // 4  # of four digits; the first may have fewer
    top = d - 4 * (groups - 1)
    table = np.empty(324, levels.dtype)  # 81 entries of four values
    lead = np.empty(324, levels.dtype)
    cut = np.empty(d, levels.dtype)
    for r in range(n_rows):
        row_indices = indices[r]
        row = out[r]
        worst = _u32(0)
        for b in range(n_blocks):
            worst = max(worst, _u32(row_indices[b]))
        if worst >= limit:
            return r
        low, middle, high = levels[r, 0], levels[r, 1], levels[r, 2]
        # A short row isn't worth a table; and no writer has a use for d above 12.
        if n_blocks * groups < 24 or groups > 3:
            for b in range(whole):
                _digits(row_indices[b], low, middle, high, row, b * d, d)
        else:
            _fill_table(low, middle, high, _PICKS[top - 1], lead)
            if groups > 1:
                _fill_table(low, middle, high, _PICKS[3], table)
            if groups == 1:
                _expand_one(row_indices, lead, row, whole, d)
            elif groups == 2:
                _expand_two(row_indices, lead, table, row, whole, d)
            else:
                _expand_three(row_indices, lead, table, row, whole, d)
        done = whole * d
        if whole < n_blocks and done < n_columns:  # the block that the row's end cuts
            _digits(row_indices[whole], low, middle, high, cut, 0, d)
            for k in range(n_columns - done):
                row[done + k] = cut[k]
            done = n_columns
        for c in range(done, n_columns):
            row[c] = middle
    return -1


@compiled
def _expand_one(row_indices: U16, lead: Array, row: Array, n_blocks: int, d: int) -> None:
    """d = 1 to 4. Four values are stored for each block; the next block overwrites what is too much."""
    n_safe = n_blocks
    while n_safe > 0 and n_safe * d + 4 - d > row.size:
        n_safe -= 1
    for b in range(n_safe):
        t = _at(row_indices[b]) * _at(4)
        o = _at(b) * _at(d)
        a0, a1, a2, a3 = lead[t], lead[t + _at(1)], lead[t + _at(2)], lead[t + _at(3)]
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = a0, a1, a2, a3
    for b in range(n_safe, n_blocks):
        for k in range(d):
            row[b * d + k] = lead[_at(row_indices[b]) * _at(4) + _at(k)]


@compiled
def _expand_two(row_indices: U16, lead: Array, table: Array, row: Array, n_blocks: int, d: int) -> None:
    """d = 5 to 8: one to four leading digits, then four."""
    top = _at(d - 4)
    for b in range(n_blocks):
        i = _u32(row_indices[b])
        quotient = i // _u32(81)
        h = _at(quotient) * _at(4)
        t = _at(i - quotient * _u32(81)) * _at(4)
        o = _at(b) * _at(d)
        # All four are loaded before any is stored: the compiler makes one move of them.
        a0, a1, a2, a3 = lead[h], lead[h + _at(1)], lead[h + _at(2)], lead[h + _at(3)]
        b0, b1, b2, b3 = table[t], table[t + _at(1)], table[t + _at(2)], table[t + _at(3)]
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = a0, a1, a2, a3
        o += top
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = b0, b1, b2, b3


@compiled
def _expand_three(row_indices: U16, lead: Array, table: Array, row: Array, n_blocks: int, d: int) -> None:
    """d = 9 to 12: one to four leading digits, then four and four."""
    top = _at(d - 8)
    for b in range(n_blocks):
        i = _u32(row_indices[b])
        quotient = i // _u32(81)
        first = quotient // _u32(81)
        h = _at(first) * _at(4)
        m = _at(quotient - first * _u32(81)) * _at(4)
        t = _at(i - quotient * _u32(81)) * _at(4)
        o = _at(b) * _at(d)
        a0, a1, a2, a3 = lead[h], lead[h + _at(1)], lead[h + _at(2)], lead[h + _at(3)]
        b0, b1, b2, b3 = table[m], table[m + _at(1)], table[m + _at(2)], table[m + _at(3)]
        c0, c1, c2, c3 = table[t], table[t + _at(1)], table[t + _at(2)], table[t + _at(3)]
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = a0, a1, a2, a3
        o += top
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = b0, b1, b2, b3
        o += _at(4)
        row[o], row[o + _at(1)], row[o + _at(2)], row[o + _at(3)] = c0, c1, c2, c3


def _as_written(halves: U16, widened: Array, table: U32) -> Array:
    """The batch in the type that is written: float16 patterns as they are, or widened."""
    raise TypeError("for compiled code only")


@numba.extending.overload(_as_written, **_OVERLOAD)
def _(halves: Any, widened: Any, table: Any) -> Any:
    if widened.dtype == numba.types.uint16:
        return lambda halves, widened, table: halves

    def widen_batch(halves: U16, widened: U32, table: U32) -> U32:
        widen(halves, widened, table)
        return widened

    return widen_batch


@compiled
def apply_overlay(
    words: U32, wide: bool, out: Array, table: U32, n_columns: int, n_rows: int, first_row: int, end_row: int
) -> int:
    """Writes overlay entries of rows [first_row, end_row) into `out`, in order.

    words: the entries as uint32, two each, or three if `wide`. out: patterns of those rows, flat.
    table: the float32 pattern of each float16 pattern, uint32 [65536].
    Returns how many entries lie in the tensor, but not in these rows.
    """
    step = 3 if wide else 2
    n_entries = words.size // step
    own_rows = max(0, min(end_row, n_rows, first_row + out.size // max(1, n_columns)) - first_row)
    halves = np.empty(_BATCH, np.uint16)
    widened = np.empty(_BATCH, out.dtype)
    foreign = False
    for start in range(0, n_entries, _BATCH):
        # Slices, and loops apart from each other: only so are they vectorised.
        batch = words[step * start : step * min(start + _BATCH, n_entries)]
        if wide:
            _round_batch(batch[2:], 3, halves)
            values = _as_written(halves, widened, table)
            foreign |= _place_wide(batch, values, out, _at(n_columns), _at(first_row), _at(own_rows))
        else:
            _round_batch(batch[1:], 2, halves)
            values = _as_written(halves, widened, table)
            foreign |= _place_narrow(batch, values, out, _at(n_columns), _at(first_row), _at(own_rows))
    elsewhere = 0
    if foreign:
        for e in range(n_entries):
            if wide:
                row, column = _at(words[3 * e]), _at(words[3 * e + 1])
            else:
                row, column = _at(words[2 * e] & _u32(0xFFFF)), _at(words[2 * e] >> _u32(16))
            if row < _at(n_rows) and column < _at(n_columns) and row - _at(first_row) >= _at(own_rows):
                elsewhere += 1
    return elsewhere


@compiled
def _round_batch(values: U32, step: int, halves: U16) -> None:
    """The float16 patterns of every step-th value: in hardware, but for NaN, whose payload that would change."""
    n = (values.size + step - 1) // step
    largest = _u32(0)
    if step == 2:
        for e in range(n):
            value = values[2 * e]
            largest = max(largest, value & _u32(0x7FFFFFFF))
            halves[e] = _to_half(value)
    else:
        for e in range(n):
            value = values[3 * e]
            largest = max(largest, value & _u32(0x7FFFFFFF))
            halves[e] = _to_half(value)
    if largest > _u32(0x7F800000):
        for e in range(n):
            halves[e] = half_bits(values[step * e])


@compiled
def _place_narrow(batch: U32, values: Array, out: Array, columns: Any, first: Any, own_rows: Any) -> bool:
    foreign = False
    last, base = _at(_NO_ROW), _at(0)
    for e in range(batch.size // 2):
        pair = batch[2 * e]
        row, column = _at(pair & _u32(0xFFFF)), _at(pair >> _u32(16))
        if row != last:  # entries of a row follow each other
            if row - first >= own_rows:
                foreign = True
                continue
            last, base = row, (row - first) * columns
        if column < columns:
            out[base + column] = values[e]
    return foreign


@compiled
def _place_wide(batch: U32, values: Array, out: Array, columns: Any, first: Any, own_rows: Any) -> bool:
    foreign = False
    for e in range(batch.size // 3):
        row, column = _at(batch[3 * e]) - first, _at(batch[3 * e + 1])
        if row >= own_rows:
            foreign = True
        elif column < columns:
            out[row * columns + column] = values[e]
    return foreign


@compiled
def widen(halves: U16, out: U32, table: U32) -> None:
    """out[i] = the float32 pattern of float16 pattern halves[i]. table: all 65,536 of them, for the rare ones."""
    n = min(halves.size, out.size)
    rare = _u32(0)
    for i in range(n):
        h = _u32(halves[i])
        size = h & _u32(0x7FFF)
        rare |= _u32(size - _u32(0x400) >= _u32(0x7800))  # zero, subnormal, infinite, NaN
        out[i] = ((h & _u32(0x8000)) << _u32(16)) | ((size << _u32(13)) + _u32(0x38000000))
    if rare:
        for i in range(n):
            if (_u32(halves[i]) & _u32(0x7FFF)) - _u32(0x400) >= _u32(0x7800):
                out[i] = table[halves[i]]


def _one_as_written(half: Any, out: Array, table: U32) -> Any:
    """One float16 pattern in the type of `out`."""
    raise TypeError("for compiled code only")


@numba.extending.overload(_one_as_written, **_OVERLOAD)
def _(half: Any, out: Any, table: Any) -> Any:
    if out.dtype == numba.types.uint16:
        return lambda half, out, table: half
    return lambda half, out, table: table[half]


@compiled
def put(positions: Array, values: U16, out: Array, table: U32, first: int) -> None:
    """out[positions - first] = values; positions outside `out` are ignored. positions: unsigned [n]; table as above."""
    n = _at(out.size)
    for e in range(min(positions.size, values.size)):
        at = _at(positions[e]) - _at(first)
        if at < n:
            out[at] = _one_as_written(values[e], out, table)


@compiled
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
            values[n] = half_bits(value)
            n += 1
    return n
