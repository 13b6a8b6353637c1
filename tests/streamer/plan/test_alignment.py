"""Multiples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.alignment import align


@given(st.integers(0, 10**12), st.integers(1, 4096))
def test_align_gives_the_next_multiple(nbytes, alignment):
    assert align(nbytes, alignment) == next(n for n in range(nbytes, nbytes + alignment) if n % alignment == 0)
