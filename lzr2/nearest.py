"""Compiled loops of the lossy encoder: the three levels of a row that leave the least squared error.

Least squares and nearest level in turn, from one start alone, ends wherever a few outliers have put it. In a sorted row
it is known from a few searches what three levels cost, so that many starts can be tried.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lzr2.compiled import compiled, compiled_freely
from lzr2.fit import evenly_spaced
from lzr2.kernels import U16, U32, half_bits
from lzr2.sorted_row import below, look, sort

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_u16 = np.uint16
_u32 = np.uint32
_f32 = np.float32
_f64 = np.float64
_LONGEST = 65_536  # of a longer row, as many weights are looked at, evenly spread
_ROUNDS = 16
_SETTLED = 2e-3  # a change of the levels, in steps between them, that no longer matters
_NEAR = 0.15  # levels this near to others, in steps, are the same start
_NORMAL = 1.2247  # step between the three best levels of a normal distribution, in deviations
_FEW = 24  # of so few weights, every pair is a start
_HEAVY = 4.0  # a row this many times as wide as nine tenths of it has outliers
_CUTS = 6  # parts of the range of a row with outliers
_FAR = 1e6  # beyond every float16

# Where two of the three levels may start: at these shares of the sorted weights.
_SHARES = np.array([0.0, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93, 0.97, 0.99, 1.0])
# Or evenly over the shortest interval that holds so many of them.
_HELD = np.array([0.97, 0.9, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02])
_FROM_PAIRS, _FROM_INTERVALS = 4, 2  # how many starts of each kind are followed
_TOP = 4  # frequent values of a row that are tried as levels
_PAIRS = 3 * _FEW * (_FEW - 1) // 2

# The sketch of a row, on which starts are judged: means of its parts, finer at both ends.
_TAIL = np.geomspace(1 / 4096, 1 / 10, 16)
_PARTS = np.concatenate([[0.0], _TAIL, np.linspace(0.1, 0.9, 33)[1:-1], 1 - _TAIL[::-1], [1.0]])
_SKETCH = _PARTS.size - 1


class _Work(NamedTuple):
    """Memory for one row at a time.

    table: of the sorted row [3, N + 1]. starts: middle level, step and cost of each [3, n]. sketch: points that stand
    for parts of the row, and how many weights each [2, n]. marks: where levels may start [n].
    """

    keys: U16
    spare: U16
    counts: U32
    table: F64
    starts: F64
    sketch: F32
    marks: F64
    one: F32


@compiled
def _follow(table: F64, n: int, t: float, s: float, limit: float) -> tuple[float, float, float]:
    """Least squares and nearest level in turn, from middle level t and step s: the least cost, with its t and s."""
    best, best_t, best_s = np.inf, t, s
    for _ in range(_ROUNDS):
        cost, n0, n1, n2, s0, s1, s2 = look(table, n, t - s, t, t + s, limit)
        if cost < best:
            best, best_t, best_s = cost, t, s
        inside, total = n0 + n1 + n2, s0 + s1 + s2
        if inside == 0:
            break
        old_t, old_s = t, s
        tilt = n2 - n0
        spread = _f64(inside) * (n0 + n2) - _f64(tilt) * tilt
        if spread > 0.0:
            s = (inside * (s2 - s0) - tilt * total) / spread
        t = (total - s * tilt) / inside
        if not s > 0.0:
            break
        if abs(s - old_s) + abs(t - old_t) < _SETTLED * s:
            cost = look(table, n, t - s, t, t + s, limit)[0]
            if cost < best:
                best, best_t, best_s = cost, t, s
            break
    return best, best_t, best_s


@compiled
def _draw(table: F64, n: int, sketch: F32) -> int:
    """Fills the sketch with means of parts of the row and their sizes; returns how many, a multiple of eight."""
    k = 0
    if n <= _SKETCH:
        for i in range(n):
            sketch[0, i], sketch[1, i] = table[0, i], 1
        k = n
    else:
        start = 0
        for j in range(1, _PARTS.size):
            end = int(_PARTS[j] * n + 0.5)
            if end > start:
                sketch[0, k] = (table[1, end] - table[1, start]) / (end - start)
                sketch[1, k] = end - start
                k += 1
                start = end
    full = (k + 7) // 8 * 8
    sketch[:, k:full] = _f32(0)
    return full


@compiled_freely
def _judge(sketch: F32, n: int, low: Any, middle: Any, high: Any, limit: Any) -> Any:
    """What three levels cost on the sketch, about; limit: squared."""
    cost = _f32(0)
    for i in range(n):
        x = sketch[0, i]
        a, b, c = x - low, x - middle, x - high
        a, b, c = a * a, b * b, c * c
        a = a if a < b else b
        a = a if a < c else c
        cost += sketch[1, i] * (a if a < limit else limit)
    return cost


@compiled
def _mark(table: F64, n: int, marks: F64) -> int:
    """Fills marks with places, ascending, where levels may start; returns how many."""
    if n <= _FEW:
        marks[:n] = table[0, :n]
        return n
    k = _SHARES.size
    for i in range(k):
        marks[i] = table[0, int(_SHARES[i] * (n - 1) + 0.5)]
    width = table[0, n - 1] - table[0, 0]
    if width > _HEAVY * (table[0, int(0.95 * (n - 1))] - table[0, int(0.05 * (n - 1))]):
        for i in range(1, _CUTS):
            marks[k] = table[0, 0] + width * i / _CUTS
            k += 1
        marks[:k].sort()
    return k


@compiled
def _start_from_pairs(table: F64, n: int, marks: F64, starts: F64) -> int:
    """Mean and deviation, and levels on any two marks; returns how many starts."""
    mean = (table[1, n] - table[1, 0]) / n
    starts[0, 0] = mean
    starts[1, 0] = _NORMAL * np.sqrt(max(0.0, (table[2, n] - table[2, 0]) / n - mean * mean))
    k, n_marks = 1, _mark(table, n, marks)
    for i in range(n_marks):
        a = marks[i]
        for j in range(i + 1, n_marks):
            b = marks[j]
            if a < b:
                starts[0, k], starts[1, k] = (a + b) / 2, (b - a) / 2
                starts[0, k + 1], starts[1, k + 1] = a, b - a
                starts[0, k + 2], starts[1, k + 2] = b, b - a
                k += 3
    return k


@compiled
def _start_from_intervals(table: F64, n: int, limit: float, starts: F64) -> int:
    """Levels evenly over the shortest intervals that hold some share of the row; returns how many starts."""
    k = 0
    for held in _HELD:
        length = max(1, int(held * (n - 1)))
        shortest, at = np.inf, 0
        for i in range(0, n - length, max(1, (n - length) // 64)):
            distance = table[0, i + length] - table[0, i]
            if distance < shortest:
                shortest, at = distance, i
        if shortest > 0.0:
            t, s = (table[0, at] + table[0, at + length]) / 2, shortest / 3
            starts[0, k], starts[1, k] = t, s
            starts[2, k] = look(table, n, t - s, t, t + s, limit)[0]
            k += 1
    return k


@compiled
def _follow_best(table: F64, n: int, starts: F64, n_starts: int, n_followed: int, limit: float, best: Any) -> Any:
    """Follows the starts that cost least; returns the best of what they lead to and of what there was."""
    for _ in range(n_followed):
        least, at = np.inf, -1
        for i in range(n_starts):
            if starts[2, i] < least:
                least, at = starts[2, i], i
        if at < 0:
            break
        t, s = starts[0, at], starts[1, at]
        found = _follow(table, n, t, s, limit)
        for i in range(n_starts):  # what is near to a start, or to where it led, would lead there too
            if (abs(starts[0, i] - t) + abs(starts[1, i] - s) <= _NEAR * s) | (
                abs(starts[0, i] - found[1]) + abs(starts[1, i] - found[2]) <= _NEAR * found[2]
            ):
                starts[2, i] = np.inf
        if found[0] < best[0]:
            best = found
    return best


@compiled
def _best_levels(work: Any, n: int, limit: float) -> tuple[float, float]:
    """Middle level and step that cost least, of all that were found from all starts. The row has two values or more."""
    table, starts, sketch = work.table, work.starts, work.sketch
    k = _start_from_pairs(table, n, work.marks, starts)
    n_points = _draw(table, n, sketch)
    square = _f32(min(limit * limit, 1e30))
    for i in range(k):
        t, s = starts[0, i], starts[1, i]
        starts[2, i] = _judge(sketch, n_points, _f32(t - s), _f32(t), _f32(t + s), square)
    best = _follow_best(table, n, starts, k, _FROM_PAIRS, limit, (np.inf, starts[0, 0], starts[1, 0]))
    k = _start_from_intervals(table, n, limit, starts)
    best = _follow_best(table, n, starts, k, _FROM_INTERVALS, limit, best)
    return best[1], best[2]


@compiled
def _frequent(table: F64, n: int, marks: F64) -> int:
    """Fills marks with values that a sixteenth of the row or more has, most frequent first; returns how many."""
    counts = marks[_TOP:]
    step = max(1, n // 32)
    k = 0
    last = np.inf
    for i in range(0, n - step, step):
        x = table[0, i]
        if x != table[0, i + step] or x == last:
            continue
        last = x
        count = below(table, n, np.nextafter(x, np.inf)) - below(table, n, x)
        if k == _TOP and count <= counts[k - 1]:
            continue
        j = min(k, _TOP - 1)
        k = j + 1
        while j > 0 and counts[j - 1] < count:
            marks[j], counts[j] = marks[j - 1], counts[j - 1]
            j -= 1
        marks[j], counts[j] = x, count
    return k


@compiled
def _stored(
    table: F64, n: int, centre: float, t: float, s: float, limit: float, widened: F32, one: F32
) -> tuple[Any, ...]:
    """What the float16 levels cost; offset and scale as they are stored; how many weights lie outside."""
    scale = _f32(s)
    offset = _f32((t + centre) / _f64(scale))
    levels = (0.0, 0.0, 0.0)
    for k in range(3):
        one[0] = (_f32(k - 1) + offset) * scale
        level = _f64(widened[half_bits(one.view(np.uint32)[0])]) - centre
        levels = (levels[1], levels[2], min(max(level, -_FAR), _FAR))
    cost, n0, n1, n2, _, _, _ = look(table, n, levels[0], levels[1], levels[2], limit)
    return cost, offset, scale, n - n0 - n1 - n2


@compiled
def _fit_row(work: Any, n: int, centre: float, limit: float, widened: F32) -> tuple[Any, ...]:
    table, marks, one = work.table, work.marks, work.one
    t, s = _best_levels(work, n, limit)
    best = _stored(table, n, centre, t, s, limit, widened, one)
    # Values that many weights share were levels once: those of least squares may miss them by a bit.
    k = _frequent(table, n, marks)
    for i in range(k):
        for j in range(k):
            low, high = marks[i], marks[j]
            if low < high:
                for middle in (low, (low + high) / 2, high):
                    step = (high - low) / 2 if middle != low and middle != high else high - low
                    found = _stored(table, n, centre, middle, step, limit, widened, one)
                    best = found if found[0] < best[0] else best
                for m in range(k):
                    if low < marks[m] < high:
                        t, s = evenly_spaced(low + centre, marks[m] + centre, high + centre)
                        if s > 0.0:
                            found = _stored(table, n, centre, t - centre, s, limit, widened, one)
                            best = found if found[0] < best[0] else best
    return best


@compiled
def _spread(row: U16, taken: U16) -> None:
    """Fills `taken` with weights of a longer row, one from each of as many equal parts, at no regular distance."""
    state = _u32(1)
    for i in range(taken.size):
        start, end = i * row.size // taken.size, (i + 1) * row.size // taken.size
        state = _u32(state * _u32(1_664_525) + _u32(1_013_904_223))
        taken[i] = row[start + int(state >> _u32(8)) % (end - start)]


@compiled
def fit_nearest(patterns: U16, widened: F32, limit: float, offset: F32, scale: F32) -> int:
    """Per row, the offset and scale that leave about the least sum of min(error², limit²) over its weights.

    What is further than `limit` from its level counts as if it were just so far: it will be in the overlay. Returns
    how many weights that is; infinities and NaN are always. patterns: float16 patterns [R, N]. widened: float32 value
    of every pattern. limit: above 0, may be infinite. Writes offset, scale [R].
    """
    length = min(patterns.shape[1], _LONGEST)
    work = _Work(
        np.empty(length, np.uint16),
        np.empty(length, np.uint16),
        np.empty(512, np.uint32),
        np.empty((3, length + 1), np.float64),
        np.empty((3, _PAIRS + 1), np.float64),
        np.empty((2, _SKETCH + 8), np.float32),
        np.empty(_FEW + _SHARES.size + _CUTS, np.float64),
        np.empty(1, np.float32),
    )
    taken = np.empty(length, np.uint16)
    outside = 0
    for r in range(patterns.shape[0]):
        row = patterns[r]
        if row.size > length:
            _spread(row, taken)
            row = taken
        n, centre = sort(row, widened, work.keys, work.spare, work.counts, work.table)
        outside += row.size - n
        if n == 0:
            offset[r], scale[r] = _f32(0), _f32(1)
        elif work.table[0, 0] == work.table[0, n - 1]:
            # Minus zero is zero times a negative scale.
            offset[r], scale[r] = _f32(centre), _f32(-1 if work.keys[n - 1] == _u16(0x7FFF) else 1)
        else:
            _, offset[r], scale[r], n_outside = _fit_row(work, n, centre, limit, widened)
            outside += n_outside
    return outside
