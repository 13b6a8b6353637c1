"""Where a tensor is: which rows, and which shape it has."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.place import Place


def test_a_place_is_whole_unless_it_says_otherwise():
    assert Place("k").whole
    for other in (Place("k", parts=2), Place("k", flat=True), Place("k", transposed=True)):
        assert not other.whole


@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 4), st.booleans(), st.booleans(), st.booleans())
def test_shape_and_rows_are_those_of_the_plain_operations(parts, n_rows, n_columns, conv, flat, transposed):
    whole = torch.empty(parts * n_rows, n_columns, *((1, 1) if conv else ()))
    for part in range(parts):
        place = Place("k", part, parts, flat, transposed)
        piece = whole.chunk(parts)[part] if n_rows else whole
        if flat and conv:
            piece = piece[:, :, 0, 0]
        if transposed and piece.ndim != 2:
            with pytest.raises(ValueError, match="no matrix"):
                place.shape(tuple(whole.shape))
        else:
            assert place.shape(tuple(whole.shape)) == tuple((piece.t() if transposed else piece).shape)
        assert place.rows(tuple(whole.shape)) == (part * n_rows, n_rows)


@pytest.mark.parametrize("shape", [(), (4, 2), (7,)])
def test_what_cannot_be_divided_is_told(shape):
    with pytest.raises(ValueError, match="can't hold 3 tensors"):
        Place("k", 1, 3).shape(shape)


def test_only_sizes_of_one_are_dropped():
    assert Place("k", flat=True).shape((4, 4, 1, 1)) == (4, 4)
    assert Place("k", flat=True).shape((4, 4, 1)) == (4, 4)
    assert Place("k", flat=True).shape((4, 4)) == (4, 4)
    assert Place("k", flat=True).shape((4, 4, 3, 1)) == (4, 4, 3, 1)
    assert Place("k", flat=True).shape((4,)) == (4,)
