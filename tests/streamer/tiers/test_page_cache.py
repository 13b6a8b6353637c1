"""Which bytes of a weight file stay in the page cache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.tiers.page_cache import keys_to_drop


def source_of(sizes: list[int]) -> dict[str, int]:
    return {str(i): n for i, n in enumerate(sizes)}


def test_a_file_that_fits_stays_whole():
    assert keys_to_drop(source_of([10, 20]), [["0"]], 30) == frozenset()


def test_of_a_larger_file_the_first_groups_stay_and_what_is_read_once_goes():
    source = source_of([10, 10, 10, 10])
    assert keys_to_drop(source, [["2", "1"], ["0"]], 25) == {"0", "3"}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(0, 400), st.integers(0, 100))
def test_what_stays_fits_and_a_larger_budget_drops_no_more(sizes, budget, more):
    source = source_of(sizes)
    groups = [[str(i)] for i in range(len(sizes))]
    dropped = keys_to_drop(source, groups, budget)
    assert sum(n for i, n in enumerate(sizes) if str(i) not in dropped) <= budget
    assert keys_to_drop(source, groups, budget + more) <= dropped
