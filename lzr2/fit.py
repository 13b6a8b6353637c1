"""Compiled loops of the encoder: the three levels that most weights of a row equal, digits, indices."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled
from lzr2.kernels import U16, U32, half_bits

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

_u32 = np.uint32
_f32 = np.float32
_at = np.uintp
_TOP = 6  # most frequent values of a row that are tried as levels
_TAKEN = 0x80000000


@compiled
def _level_hits(offset: Any, scale: Any, counts: U32, one: F32) -> int:
    """How many weights of the row one of the three levels hits exactly."""
    pattern = one.view(np.uint32)
    hits = _u32(0)
    first = second = _u32(0xFFFFFFFF)
    for k in range(3):
        one[0] = (_f32(k - 1) + offset) * scale
        bits = half_bits(pattern[0])
        if bits != first and bits != second:
            hits += counts[bits] & _u32(_TAKEN - 1)
        first, second = second, bits
    return int(hits)


@compiled
def _half_ulp(value: Any) -> float:
    """Half of the distance between float16 numbers near `value`, a little less to be safe."""
    size = abs(value)
    step = 2.0**-24
    while size >= 2.0**-13 and step < 64:
        size *= 0.5
        step *= 2.0
    return step * 0.49


@compiled
def _most_frequent(row: U16, counts: U32, top: U16) -> int:
    """Fills `top` with the row's most frequent finite patterns, most frequent first; returns how many."""
    n = 0
    for c in range(row.size):
        p = row[c]
        count = counts[p]
        if count >= _u32(_TAKEN) or (p & np.uint16(0x7C00)) == np.uint16(0x7C00):
            continue
        if n == _TOP and count <= counts[top[n - 1]] - _u32(_TAKEN):
            continue
        if n == _TOP:
            n -= 1
            counts[top[n]] -= _u32(_TAKEN)
        k = n
        while k > 0 and counts[top[k - 1]] - _u32(_TAKEN) < count:
            top[k] = top[k - 1]
            k -= 1
        top[k] = p
        counts[p] += _u32(_TAKEN)
        n += 1
    return n


@compiled
def fit_exact(patterns: U16, widened: F32, offset: F32, scale: F32) -> None:
    """Per row, the offset and scale whose three levels equal as many of its weights as can be found.

    patterns: float16 patterns [R, N]. widened: float32 value of every pattern. Writes offset, scale [R].
    """
    counts = np.zeros(65536, np.uint32)
    top = np.empty(_TOP, np.uint16)
    one = np.empty(1, np.float32)
    best_fit = np.empty(2, np.float32)
    for r in range(patterns.shape[0]):
        row = patterns[r]
        for c in range(row.size):
            counts[row[c]] += _u32(1)
        n = _most_frequent(row, counts, top)
        best_fit[0], best_fit[1] = _f32(0), _f32(1)
        best = -1
        if n > 0:
            value = widened[top[0]]
            best_fit[0] = value
            if top[0] == np.uint16(0x8000):  # -0.0 is 0 times a negative scale
                best_fit[1] = _f32(-1)
            best = _level_hits(best_fit[0], best_fit[1], counts, one)
        for i in range(n):
            for j in range(n):
                if i != j and best < row.size:
                    a, b = float(widened[top[i]]), float(widened[top[j]])
                    best = _try(a - (b - a), b, counts, one, best_fit, best)  # a is the middle one
                    best = _try(a, b, counts, one, best_fit, best)
                    for k in range(n):
                        if k != i and k != j and a < b:
                            best = _try_three(a, float(widened[top[k]]), b, counts, one, best_fit, best)
        offset[r], scale[r] = best_fit[0], best_fit[1]
        for c in range(row.size):
            counts[row[c]] = _u32(0)


@compiled
def _try(low: float, high: float, counts: U32, one: F32, best_fit: F32, best: int) -> int:
    """Levels from `low` to `high` (a descending pair is a negative scale, which makes zeros negative)."""
    s = _f32((high - low) / 2)
    if s == _f32(0):
        return best
    o = _f32((high + low) / 2 / float(s))
    hits = _level_hits(o, s, counts, one)
    if hits > best:
        best_fit[0], best_fit[1] = o, s
        return hits
    return best


@compiled
def evenly_spaced(low: float, middle: float, high: float) -> tuple[float, float]:
    """Middle level and step of three values, evenly spaced but for their own rounding; step 0 if they aren't."""
    e0, e1, e2 = _half_ulp(low), _half_ulp(middle), _half_ulp(high)
    centre = (low + high) / 2
    # The middle level t may move within its rounding, and so that low and high can share one scale.
    least, most = max(middle - e1, centre - (e0 + e2) / 2), min(middle + e1, centre + (e0 + e2) / 2)
    if least > most:
        return centre, 0.0
    t = (least + most) / 2
    s_least, s_most = max(t - low - e0, high - t - e2), min(t - low + e0, high - t + e2)
    return t, (s_least + s_most) / 2


@compiled
def _try_three(low: float, middle: float, high: float, counts: U32, one: F32, best_fit: F32, best: int) -> int:
    t, s = evenly_spaced(low, middle, high)
    if s == 0.0:
        return best
    best = _try(t - s, t + s, counts, one, best_fit, best)
    return _try(t + s, t - s, counts, one, best_fit, best)


@compiled
def assign(patterns: U16, levels: U16, widened: F32, exact: bool, digits: U8) -> int:
    """digits[r, c] = 0, 1 or 2: the level that equals (exact) or is nearest to the weight; returns the misses.

    A weight that no level equals gets the middle digit if `exact`: it is replaced anyway, and runs compress.
    """
    misses = 0
    for r in range(patterns.shape[0]):
        row, row_digits, row_levels = patterns[r], digits[r], levels[r]
        low, middle, high = levels[r, 0], levels[r, 1], levels[r, 2]
        if exact:
            for c in range(row.size):
                p = row[c]
                digit = 1 if p == middle else (0 if p == low else (2 if p == high else 3))
                misses += digit == 3
                row_digits[c] = 1 if digit == 3 else digit
        else:
            a, b, d = widened[low], widened[middle], widened[high]
            for c in range(row.size):
                x = widened[row[c]]
                below, error, above = abs(x - a), abs(x - b), abs(x - d)
                upper = (above < error) & (above < below)
                lower = (below < error) & (not upper)
                nearest = np.uint8(1) + np.uint8(upper) - np.uint8(lower)  # without branches: digits are random
                row_digits[c] = nearest
                misses += row[c] != row_levels[nearest]
    return misses


@compiled
def pack(digits: U8, d: int, indices: U16) -> None:
    """indices[r, b] = the d digits of block b as one number; columns past the row count as the middle digit."""
    n_columns = digits.shape[1]
    for r in range(indices.shape[0]):
        row = digits[r]
        for b in range(indices.shape[1]):
            i = _u32(0)
            for k in range(d):
                c = b * d + k
                i = i * _u32(3) + (_u32(row[c]) if c < n_columns else _u32(1))
            indices[r, b] = i
