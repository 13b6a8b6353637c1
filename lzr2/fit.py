"""Compiled loops of the encoder: fit the three levels of a row, assign digits, find what the lattice misses."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled, compiled_freely
from lzr2.kernels import U16, U32, half_bits

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

_u32 = np.uint32
_f32 = np.float32
_at = np.uintp
_TOP = 6  # most frequent values of a row that are tried as levels
_TAKEN = 0x80000000
_ROUNDS = 12
_SETTLED = 2e-3  # a change of the levels, in steps between them, that no longer matters
_NOT_A_NUMBER = 0x7FFFFFFF  # an error larger than every number


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
def _try_three(low: float, middle: float, high: float, counts: U32, one: F32, best_fit: F32, best: int) -> int:
    """Three values that are evenly spaced but for their own rounding."""
    e0, e1, e2 = _half_ulp(low), _half_ulp(middle), _half_ulp(high)
    centre = (low + high) / 2
    # The middle level t may move within its rounding, and so that low and high can share one scale.
    least, most = max(middle - e1, centre - (e0 + e2) / 2), min(middle + e1, centre + (e0 + e2) / 2)
    if least > most:
        return best
    t = (least + most) / 2
    s_least, s_most = max(t - low - e0, high - t - e2), min(t - low + e0, high - t + e2)
    s = (s_least + s_most) / 2
    best = _try(t - s, t + s, counts, one, best_fit, best)
    return _try(t + s, t - s, counts, one, best_fit, best)


@compiled_freely
def _sums(values: F32, t: Any, s: Any, limit: Any) -> tuple[int, int, int, float, float]:
    """Over the values within `limit` of their nearest level: n, and the sums of d, d², x and x·d."""
    n = sum_d = sum_dd = 0
    sum_x = sum_xd = 0.0
    half = _f32(0.5) * s
    for c in range(values.size):
        x = values[c]
        off = x - t
        up, down = off > half, off < -half
        digit = (_f32(1) if up else _f32(0)) - (_f32(1) if down else _f32(0))
        near = abs(off - digit * s) <= limit
        n += near
        sum_d += (up & near) - (down & near)
        sum_dd += (up | down) & near
        sum_x += float(x) if near else 0.0
        sum_xd += float(x * digit) if near else 0.0
    return n, sum_d, sum_dd, sum_x, sum_xd


@compiled
def fit_nearest(patterns: U16, widened: F32, ignore_above: Any, refine: bool, offset: F32, scale: F32) -> None:
    """Per row, the offset and scale with the least squared error over the weights no further than `ignore_above`.

    Least squares and nearest level in turn, from the row's mean and deviation, or from offset and scale (`refine`).
    """
    values = np.empty(patterns.shape[1], np.float32)
    limit = _f32(min(ignore_above, _f32(1e30)))  # leaves infinities and NaN out
    for r in range(patterns.shape[0]):
        row = patterns[r]
        n, total, squares = 0, 0.0, 0.0
        for c in range(row.size):
            values[c] = widened[row[c]]
            x = float(values[c])
            if abs(x) < 1e30:
                n += 1
                total += x
                squares += x * x
        if refine:
            s = float(scale[r])
            t = float(offset[r]) * s
        else:
            t = total / max(n, 1)
            s = 1.2247 * np.sqrt(max(0.0, squares / max(n, 1) - t * t))  # best for a normal distribution
        for _ in range(_ROUNDS):
            if not s > 0.0:
                break
            n, sum_d, sum_dd, sum_x, sum_xd = _sums(values, _f32(t), _f32(s), limit)
            spread = float(n) * sum_dd - float(sum_d) * sum_d
            if n == 0 or spread <= 0.0:
                break
            old_s, old_t = s, t
            s = (n * sum_xd - sum_d * sum_x) / spread
            t = (sum_x - s * sum_d) / n
            if abs(s - old_s) + abs(t - old_t) < _SETTLED * s:
                break
        if _f32(s) > _f32(0):
            offset[r], scale[r] = _f32(t / float(_f32(s))), _f32(s)
        else:
            offset[r], scale[r] = _f32(t), _f32(1)


@compiled
def _error_bits(pattern: Any, level: Any, widened: F32, one: F32) -> Any:
    """The error as the pattern of a float32 not below 0: 0 if equal, at least 1 if not, NaN above all numbers."""
    if pattern == level:
        return _u32(0)
    one[0] = abs(widened[pattern] - widened[level])
    bits = one.view(np.uint32)[0] & _u32(0x7FFFFFFF)
    return max(_u32(1), _u32(_NOT_A_NUMBER) if bits > _u32(0x7F800000) else bits)


@compiled
def assign(patterns: U16, levels: U16, widened: F32, exact: bool, digits: U8) -> int:
    """digits[r, c] = 0, 1 or 2: the level that equals (exact) or is nearest to the weight; returns the misses.

    A weight that no level equals gets the middle digit if `exact`: it is replaced anyway, and runs compress.
    """
    misses = 0
    for r in range(patterns.shape[0]):
        row, row_digits = patterns[r], digits[r]
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
                digit, error = 1, abs(x - b)
                if abs(x - a) < error:
                    digit, error = 0, abs(x - a)
                if abs(x - d) < error:
                    digit = 2
                row_digits[c] = digit
                misses += row[c] != levels[r, digit]
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


@compiled
def error_histogram(patterns: U16, levels: U16, digits: U8, widened: F32, prefix: int, counts: Any) -> None:
    """Adds the errors' upper 16 bits to counts [65536]; with prefix >= 0, the lower 16 of those with these upper."""
    one = np.empty(1, np.float32)
    for r in range(patterns.shape[0]):
        for c in range(patterns.shape[1]):
            bits = _error_bits(patterns[r, c], levels[r, digits[r, c]], widened, one)
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
    first_row: int,
    first_column: int,
    wide: bool,
    words: U32,
) -> int:
    """Writes an overlay entry for every weight whose error exceeds `threshold`, in order; returns words written.

    words: uint32, room for one entry a weight. first_row, first_column: place of patterns[0, 0] in the tensor.
    """
    one = np.empty(1, np.float32)
    value_bits = widened.view(np.uint32)
    n = _at(0)
    for r in range(patterns.shape[0]):
        row, row_digits, row_levels = patterns[r], digits[r], levels[r]
        number = _u32(first_row + r)
        for c in range(row.size):
            p = row[c]
            level = row_levels[row_digits[c]]
            if p != level and (threshold == _u32(0) or _error_bits(p, level, widened, one) > threshold):
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
