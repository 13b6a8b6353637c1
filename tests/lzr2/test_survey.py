"""Oddities of overlay entries, counted as a plain loop counts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2.survey import survey

ROWS, COLUMNS = 5, 7
entries = st.lists(
    st.tuples(
        st.integers(0, ROWS + 1),
        st.integers(0, COLUMNS + 1),
        st.sampled_from([0.0, 1.5, 65_519.0, 65_520.0, np.inf, np.nan]),
    ),
    max_size=40,
)


def counted(found: list[tuple[int, int, float]]) -> list[int]:
    outside = back = same = infinite = 0
    last = -1
    for row, column, value in found:
        if row >= ROWS or column >= COLUMNS:
            outside += 1
            continue
        with np.errstate(all="ignore"):
            infinite += not np.isfinite(np.float16(np.float32(value)))
        place = row * COLUMNS + column
        back += place < last
        same += place == last
        last = place
    return [outside, back, same, infinite]


@settings(deadline=None)
@given(entries, st.booleans(), st.integers(1, 40))
def test_counts(found: list[tuple[int, int, float]], wide: bool, at_once: int) -> None:
    words = np.zeros((len(found), 3 if wide else 2), np.uint32)
    for e, (row, column, value) in enumerate(found):
        words[e, -1] = np.array([value], np.float32).view(np.uint32)[0]
        if wide:
            words[e, :2] = row, column
        else:
            words[e, 0] = row | column << 16
    counts = np.zeros(5, np.int64)
    for at in range(0, len(found), at_once):
        survey(words[at : at + at_once].reshape(-1), wide, ROWS, COLUMNS, counts)
    assert counts[:4].tolist() == counted(found)


@pytest.mark.parametrize("wide", [False, True])
def test_no_entries(wide: bool) -> None:
    counts = np.arange(5)
    survey(np.zeros(0, np.uint32), wide, ROWS, COLUMNS, counts)
    assert counts.tolist() == [0, 1, 2, 3, 4]
