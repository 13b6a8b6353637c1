"""The arithmetic of the lattice, against sums written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lzr2 import lattice


@given(st.integers(1, 12), st.data())
def test_the_digits_of_an_index_are_its_ternary_notation(d: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 3**d - 1))
    digits = lattice.digits(index, d)
    assert len(digits) == d
    assert set(digits) <= {-1, 0, 1}
    assert sum((digit + 1) * 3 ** (d - 1 - k) for k, digit in enumerate(digits)) == index


floats = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**60), max_value=2.0**60)


@given(floats, floats)
def test_a_rows_levels_are_rounded_once_an_operation(offset: float, scale: float) -> None:
    levels = lattice.row_levels(np.array([offset], np.float32), np.array([scale], np.float32))
    assert levels.shape == (1, 3)
    for k, digit in enumerate((-1, 0, 1)):
        total = np.float32(np.float32(digit) + np.float32(offset))
        assert levels[0, k] == np.float32(total * np.float32(scale))


def test_what_is_not_finite_gives_no_warning() -> None:
    with np.errstate(all="raise"):
        levels = lattice.row_levels(np.array([np.inf, 3e38], np.float32), np.array([0.0, 3e38], np.float32))
    assert np.isnan(levels[0]).all()
    assert np.isinf(levels[1]).all()


def test_the_table_has_every_float16_value() -> None:
    table = lattice.widening_table()
    assert table.shape == (65_536,)
    for pattern in (0x0000, 0x8000, 0x0001, 0x03FF, 0x3C00, 0xC000, 0x7BFF, 0x7C00, 0xFC00):
        assert table[pattern] == np.array([pattern], np.uint16).view(np.float16)[0]
    assert np.isnan(table[0x7E00])
    assert np.signbit(table[0x8000])
