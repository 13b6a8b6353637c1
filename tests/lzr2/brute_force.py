"""The least squared error that three levels a row and so many exact weights can leave, by trying them all."""

from __future__ import annotations

import numpy as np

_PLACES = 25


def left_by_count(row: np.ndarray) -> np.ndarray:
    """Squared error of a row that is left with 0, 1, 2 … of its weights exact, at best; float64 [N + 1].

    Tried are all pairs of many places as two of the three levels; the best of them for each count is then improved by
    least squares and nearest level in turn.
    """
    finite = row[np.isfinite(row)].astype(np.float64)
    n, lost = finite.size, row.size - finite.size
    ends = np.quantile(finite, np.linspace(0, 1, _PLACES)), np.linspace(finite.min(), finite.max(), _PLACES)
    places = np.unique(np.concatenate(ends))
    low, high = np.array(
        [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]] + [(finite[0], finite[0] + 1)]
    ).T
    middle = np.concatenate([(low + high) / 2, low, high])
    step = np.concatenate([(high - low) / 2, high - low, high - low])
    errors = _left(finite, middle, step)
    best = errors.min(axis=0)
    for k, i in enumerate(errors.argmin(axis=0)):
        t, s = middle[i], step[i]
        for _ in range(8):
            digit = np.clip(np.rint((finite - t) / s), -1, 1)
            kept = np.argsort(np.abs(finite - t - s * digit))[: n - k]
            if kept.size < 3 or np.ptp(digit[kept]) == 0:
                break
            s, t = np.polyfit(digit[kept], finite[kept], 1)
            if s <= 0:
                break
            best[k] = min(best[k], _left(finite, np.array([t]), np.array([s]))[0, k])
    return np.concatenate([np.full(lost, np.inf), np.minimum.accumulate(best)])


def least_errors(rows: np.ndarray) -> np.ndarray:
    """Squared error that is left of all rows with 0, 1, 2 … exact weights, spread over them as is best."""
    total = np.zeros(1)
    for row in rows:
        own = left_by_count(row)
        joined = np.full(total.size + own.size - 1, np.inf)
        for k, error in enumerate(own):
            joined[k : k + total.size] = np.minimum(joined[k : k + total.size], total + error)
        total = joined
    return total


def _left(row: np.ndarray, middle: np.ndarray, step: np.ndarray) -> np.ndarray:
    """[candidate, count]: squared error without the largest ones."""
    levels = middle[:, None, None] + step[:, None, None] * np.array([-1, 0, 1])[:, None]
    squares = np.sort(np.square(row - levels).min(axis=1), axis=1)
    sums = np.concatenate([np.zeros((len(middle), 1)), np.cumsum(squares, axis=1)], axis=1)
    return sums[:, ::-1]


def kinds(n_rows: int, n_columns: int, seed: int) -> dict[str, np.ndarray]:
    """Rows as weights come, float16."""
    random = np.random.default_rng(seed)
    shape = n_rows, n_columns
    outlier, many = random.normal(0, 1, shape), random.normal(0, 1, shape)
    outlier[np.arange(n_rows), random.integers(0, n_columns, n_rows)] = 100
    many[random.random(shape) < 0.05] = 50
    ternary = random.integers(-1, 2, shape) * 0.05
    few, lost = np.where(random.random(shape) < 0.02, random.normal(0, 0.3, shape), ternary), random.normal(0, 1, shape)
    lost[0, 3], lost[1, 5], lost[1, 6] = np.inf, -np.inf, np.nan
    made = {
        "normal": random.normal(0.2, 1, shape),
        "heavy tails": random.standard_t(2, shape),
        "an outlier in each row": outlier,
        "outliers": many,
        "two heaps": np.where(random.random(shape) < 0.4, random.normal(-1, 0.2, shape), random.normal(1, 0.3, shape)),
        "ternary": ternary,
        "ternary, shifted": (random.integers(-1, 2, shape) + 0.3) * random.normal(0, 0.05, (n_rows, 1)),
        "ternary with outliers": few,
        "nearly ternary": ternary + random.normal(0, 0.004, shape),
        "skewed": random.exponential(1, shape),
        "constant": np.full(shape, 0.7),
        "with infinities": lost,
        "rows of different size": random.normal(0, 1, shape) * np.geomspace(0.01, 1, n_rows)[:, None],
    }
    return {name: rows.astype(np.float16) for name, rows in made.items()}


def from_mean_and_deviation(rows: np.ndarray, count: int) -> float:
    """Squared error that is left by the usual fit: from each row's mean and deviation, without the largest errors."""
    values = rows.astype(np.float64)
    t, s = values.mean(axis=1), 1.2247 * values.std(axis=1)
    kept = np.ones(values.shape, bool)
    for round_ in range(20):
        digit = np.clip(np.rint((values - t[:, None]) / s[:, None]), -1, 1)
        errors = np.abs(values - t[:, None] - s[:, None] * digit)
        if round_ and count:
            kept = errors < np.sort(errors, axis=None)[-count]
        for r in range(len(values)):
            s[r], t[r] = np.polyfit(digit[r][kept[r]], values[r][kept[r]], 1)
    levels = t[:, None, None] + s[:, None, None] * np.array([-1, 0, 1])[:, None]
    return float(np.sort(np.square(values[:, None, :] - levels).min(axis=1), axis=None)[: values.size - count].sum())
