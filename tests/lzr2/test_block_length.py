"""The block length that makes a record smallest is found from some of its digits."""

from __future__ import annotations

import numpy as np
import pytest

from lzr2 import block_length, deflate, layout


@pytest.mark.parametrize(("shape", "entries"), [((64, 100), 0), ((40, 7), 30), ((10_240, 160), 50_000), ((900, 1), 0)])
def test_no_other_is_much_smaller(shape: tuple[int, int], entries: int) -> None:
    digits = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)

    def nbytes(d: int) -> int:
        entry = layout.entry_nbytes(shape[0], layout.blocks_needed(shape[1], d), d)
        stream = len(deflate.compress(block_length.raw(block_length.packed(digits, d))))
        return layout.tables_nbytes(shape[0], d) + stream + entries * entry

    chosen = block_length.cheapest(digits, entries)
    assert nbytes(chosen) <= 1.02 * min(nbytes(d) for d in block_length.D_CHOICES)


def test_a_part_tells_of_the_whole() -> None:
    digits = np.random.default_rng(1).integers(0, 3, (100, 300)).astype(np.uint8)
    whole = block_length.expected_nbytes(digits, 100, 300, 10.0, (8, 5))
    part = block_length.expected_nbytes(digits[::4], 100, 300, 10.0, (8, 5))
    assert whole.keys() == part.keys() == {8, 5}
    assert all(abs(part[d] / whole[d] - 1) < 0.05 for d in whole)


def test_nothing_to_judge_by() -> None:
    assert block_length.cheapest(np.empty((0, 5), np.uint8), 0) == 1
