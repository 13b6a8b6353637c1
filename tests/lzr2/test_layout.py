"""Sizes of sections, against the specification's sentences."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from lzr2 import layout

sizes = st.integers(1, 5000)
ds = st.integers(1, layout.MAX_D)


def test_rows_are_the_first_dimension_and_columns_the_rest() -> None:
    assert layout.rows_and_columns((320, 4, 3, 3)) == (320, 36)
    assert layout.rows_and_columns((7,)) == (7, 1)
    assert layout.rows_and_columns((7, 0, 3)) == (7, 0)


@given(sizes, ds)
def test_the_blocks_reach_every_column_and_one_less_would_not(columns: int, d: int) -> None:
    blocks = layout.blocks_needed(columns, d)
    assert (blocks - 1) * d < columns <= blocks * d
    assert layout.max_blocks(columns, d) == 2 * blocks + 64


@given(sizes, sizes, ds)
@example(2047, 2048, 32)
@example(2048, 2047, 32)
@example(2047, 2047, 32)
def test_entries_are_narrow_below_a_product_of_65536(rows: int, blocks: int, d: int) -> None:
    assert layout.entry_nbytes(rows, blocks, d) == (8 if max(rows, blocks) * d < 65_536 else 12)


@given(sizes, st.integers(1, 200_000), ds)
def test_the_possible_entries_are_those_of_all_acceptable_numbers_of_blocks(rows: int, columns: int, d: int) -> None:
    most = layout.max_blocks(columns, d)
    by_trial = {layout.entry_nbytes(rows, n, d) for n in (0, most // 2, most, min(most, 65_535 // d), 65_536 // d)}
    possible = layout.possible_entry_nbytes(rows, columns, d)
    assert possible[0] == layout.entry_nbytes(rows, layout.blocks_needed(columns, d), d)
    assert set(possible) <= {8, 12}
    assert {layout.entry_nbytes(rows, 0, d), layout.entry_nbytes(rows, most, d)} == set(possible)
    assert set(possible) >= by_trial - {layout.entry_nbytes(rows, 65_536 // d, d)} or most < 65_536 // d


def test_a_small_record_stands_for_no_huge_tensor() -> None:
    assert layout.max_allocation_nbytes(0) == 16 << 20
    assert layout.max_allocation_nbytes(1 << 20) == 24 << 20
    assert layout.max_allocation_nbytes(1 << 30) == 24 << 30


@given(sizes, ds)
def test_the_tables_are_aux_offset_and_scale(rows: int, d: int) -> None:
    assert layout.tables_nbytes(rows, d) == 4 * rows * d + 4 * rows + 4 * rows


def test_indices_from_d_11_on_are_any_16_bits() -> None:
    assert [layout.n_index_values(d) for d in (1, 10, 11, 32)] == [3, 59_049, 65_536, 65_536]
