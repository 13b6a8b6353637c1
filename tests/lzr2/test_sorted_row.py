"""A sorted row and what levels cost on it, against the same said in plain numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lzr2 import lattice, sorted_row

TABLE = lattice.widening_table()


def made(row: np.ndarray) -> tuple[np.ndarray, int, float]:
    n = row.size
    keys, table = np.empty(n, np.uint16), np.empty((3, n + 1))
    count, centre = sorted_row.sort(row, TABLE, keys, keys.copy(), np.empty(512, np.uint32), table)
    return table, count, centre


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.uint16, st.integers(0, 70)))
def test_finite_weights_are_in_order_and_summed_up(row: np.ndarray) -> None:
    table, n, centre = made(row)
    values = row.view(np.float16).astype(np.float64)
    values = np.sort(values[np.isfinite(values)])
    assert n == values.size
    if n:
        assert centre == values[n // 2]
        assert np.array_equal(table[0, :n], values - centre)
        assert np.allclose(
            table[1, : n + 1] - table[1, 0], np.concatenate([[0], np.cumsum(values - centre)]), rtol=1e-9
        )
        assert np.allclose(np.diff(table[2, : n + 1]), np.square(values - centre), rtol=1e-6, atol=1e-4)


def test_what_lies_far_out_leaves_the_other_sums_their_precision() -> None:
    row = np.concatenate([[-65504.0], np.full(100, 1e-4), np.full(101, 2e-4)]).astype(np.float16)
    table, n, centre = made(row.view(np.uint16))
    small = row[1:].astype(np.float64) - centre
    assert table[2, n] - table[2, 1] == np.sum(small**2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-10, 10, width=16), min_size=1, max_size=60), st.floats(-12, 12))
def test_a_search_counts_what_is_less(values: list[float], x: float) -> None:
    table = np.sort(np.array([values]), axis=1)
    assert sorted_row.below(table, len(values), x) == np.count_nonzero(table < x)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-10, 10, width=16), min_size=1, max_size=60),
    st.floats(-5, 5),
    st.floats(0.01, 5),
    st.sampled_from([0.05, 0.7, 3.0, np.inf]),
)
def test_the_cost_is_that_of_every_weight(values: list[float], t: float, s: float, limit: float) -> None:
    row = np.array(values, np.float16)
    table, n, _ = made(row.view(np.uint16))
    cost, n0, n1, n2, s0, s1, s2 = sorted_row.look(table, n, t - s, t, t + s, limit)
    levels = np.array([t - s, t, t + s])
    errors = np.abs(table[0, :n, None] - levels).min(axis=1)
    assert np.isclose(cost, np.minimum(np.square(errors), limit**2).sum(), rtol=1e-9, atol=1e-9)
    inside = np.abs(errors - limit) > 1e-9  # on the limit itself either will do
    assert abs(n0 + n1 + n2 - np.count_nonzero(errors < limit)) <= np.count_nonzero(~inside)
    if inside.all():
        assert np.isclose(s0 + s1 + s2, table[0, :n][errors < limit].sum(), atol=1e-9)
