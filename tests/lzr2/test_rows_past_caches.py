"""Rows made at once are those that expanding first and scattering the overlay afterwards gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lzr2 import kernels, lattice, past_caches
from lzr2 import rows_past_caches as past

TABLE = lattice.widening_table().view(np.uint32)
KINDS = [np.uint16, np.uint32]
LATTICES: dict[str, Any] = {
    "seed": st.integers(0, 2**32),
    "n_rows": st.integers(1, 90),
    "n_columns": st.sampled_from([1, 7, 64, 400, 5000]),
    "d": st.integers(1, 12),
    "kind": st.sampled_from(KINDS),
}


def lattice_rows(rng: np.random.Generator, n_rows: int, n_columns: int, d: int, kind: Any) -> tuple[Any, Any]:
    indices = rng.integers(0, min(3**d, 65536), (n_rows, -(-n_columns // d))).astype(np.uint16)
    levels = rng.integers(0, 65536, (n_rows, 3)).astype(np.uint16)
    return indices, levels if kind is np.uint16 else TABLE[levels]


@settings(max_examples=150, deadline=None)
@given(
    **LATTICES,
    wide=st.booleans(),
    n_entries=st.integers(0, 400),
    order=st.sampled_from(["sorted", "nearly", "random"]),
    cut=st.integers(0, 90),
)
def test_with_an_overlay(
    seed: int, n_rows: int, n_columns: int, d: int, kind: Any, wide: bool, n_entries: int, order: str, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    indices, levels = lattice_rows(rng, n_rows, n_columns, d, kind)
    rows, columns = rng.integers(0, n_rows + 1, n_entries), rng.integers(0, n_columns + 1, n_entries)
    if order != "random":
        rows = np.sort(rows)
    if order == "nearly" and n_entries > 9:
        rows[[4, -4]] = rows[[-4, 4]]
    words = np.zeros((n_entries, 3 if wide else 2), np.uint32)
    words[:, -1] = rng.integers(0, 2**32, n_entries)
    if wide:
        words[:, 0], words[:, 1] = rows, columns
    else:
        words[:, 0] = rows | columns << 16
    flat_words = words.reshape(-1)
    lattice_only = np.zeros((n_rows, n_columns), kind)
    limit = 3**d
    assert kernels.expand(indices, levels, lattice_only, d, limit) == -1
    wanted = lattice_only.copy()
    kernels.apply_overlay(flat_words, wide, wanted.reshape(-1), TABLE, n_columns, n_rows, 0, n_rows)

    out = np.zeros((n_rows, n_columns), kind)
    cut, applied = min(cut, n_rows), 0
    for a, b in ((0, cut), (cut, n_rows)):
        bad, applied = past.expand_with_overlay(
            indices[a:b], levels[a:b], out[a:b], d, limit, flat_words, wide, TABLE, n_rows, a, applied
        )
        assert bad == -1
    if (np.diff(rows) >= 0).all():
        assert applied == np.count_nonzero(rows < n_rows)
    if applied == n_entries:
        assert np.array_equal(out, wanted)
    else:  # once more, in order, makes it right whatever was applied
        kernels.apply_overlay(flat_words, wide, out.reshape(-1), TABLE, n_columns, n_rows, 0, n_rows)
        assert np.array_equal(out, wanted)


@settings(max_examples=100, deadline=None)
@given(
    **LATTICES,
    positions_of=st.sampled_from([np.uint32, np.uint64]),
    share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    first_row=st.sampled_from([0, 3, 2**32]),
)
def test_with_positions(
    seed: int, n_rows: int, n_columns: int, d: int, kind: Any, positions_of: Any, share: float, first_row: int
) -> None:
    rng = np.random.default_rng(seed)
    if positions_of is np.uint32:
        first_row = min(first_row, 3)
    indices, levels = lattice_rows(rng, n_rows, n_columns, d, kind)
    first = first_row * n_columns
    positions = (np.flatnonzero(rng.random(n_rows * n_columns) < share) + first).astype(positions_of)
    values = rng.integers(0, 65536, positions.size).astype(np.uint16)
    wanted = np.zeros((n_rows, n_columns), kind)
    kernels.expand(indices, levels, wanted, d, 3**d)
    kernels.put(positions, values, wanted.reshape(-1), TABLE, first)
    out = np.zeros((n_rows, n_columns), kind)
    bad = past.expand_with_positions(indices, levels, out, d, 3**d, positions, values, TABLE, first)
    assert bad == -1
    assert np.array_equal(out, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_is_too_large_is_told_by_its_row(kind: Any) -> None:
    indices, levels = lattice_rows(np.random.default_rng(0), 300, 400, 4, kind)
    indices[257, 3] = 81
    out = np.zeros((300, 400), kind)
    none = np.zeros(0, np.uint32)
    assert past.expand_with_overlay(indices, levels, out, 4, 81, none, False, TABLE, 300, 0, 0) == (257, 0)
    assert past.expand_with_positions(indices, levels, out, 4, 81, none, none.astype(np.uint16), TABLE, 0) == 257


def test_what_is_small_or_has_endless_rows_is_stored_into_the_caches() -> None:
    assert past.is_worth(np.empty((1280, 1280), np.uint32))
    assert past.is_worth(np.empty((1280, 1280), np.uint16))
    assert not past.is_worth(np.empty((320, 320), np.uint32))
    assert not past.is_worth(np.empty((2, past_caches.WORTH_NBYTES), np.uint16))
