"""How a budget is divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import BudgetError
from streamer.plan.budget import divide, ring_for_two, smallest_budget
from streamer.plan.residency import keep_order
from tests.streamer.plan.examples import UNIT, any_turns, block, budgets, equal, once_each


def test_the_smallest_budget_is_what_is_pinned_and_the_largest_of_the_rest():
    blocks = [block("rest", 3, pinned=True), block("a", 5), block("more", 2, pinned=True), block("b", 7)]
    assert smallest_budget(blocks) == (3 + 2 + 7) * UNIT


def test_the_error_names_the_block_that_needs_most():
    blocks = [block("rest", 3, pinned=True), block("a", 5), block("b", 7)]
    with pytest.raises(BudgetError) as caught:
        divide(blocks, [1, 2], 1000)
    assert (caught.value.largest_block, caught.value.budget_nbytes) == ("b", 1000)


@given(st.one_of(once_each(), any_turns()), st.data())
def test_what_stays_and_the_ring_are_within_the_budget(example, data):
    budget = data.draw(budgets(example))
    division = divide(example.blocks, example.order, budget)
    kept = sum(example.blocks[i].nbytes for i in division.resident)
    assert kept + division.ring_nbytes <= budget
    moving = [b.nbytes for i, b in enumerate(example.blocks) if i not in division.resident]
    assert division.ring_nbytes >= max(moving, default=0)
    assert division.ring_nbytes % UNIT == 0


@given(once_each(), st.data())
def test_one_more_block_would_leave_too_small_a_ring(example, data):
    budget = data.draw(budgets(example))
    division = divide(example.blocks, example.order, budget)
    candidates = keep_order(example.blocks, example.order)
    kept = candidates[: len(division.resident - {i for i, b in enumerate(example.blocks) if b.pinned})]
    assert division.resident >= set(kept)
    if len(kept) < len(candidates):
        more = candidates[: len(kept) + 1]
        streamed = [i for i in example.order if i not in more]
        needed = sum(example.blocks[i].nbytes for i in more) + ring_for_two(example.blocks, streamed)
        assert example.pinned_nbytes + needed > budget


@pytest.mark.parametrize(
    ("turns", "units"),
    [([], 0), ([2], 5), ([2, 2], 5), ([1, 0], 4), ([0, 1, 2], 8), ([0, 1, 2, 1], 6), ([2, 1, 0, 0, 1], 6)],
)
def test_the_ring_holds_any_two_that_follow_each_other_over_the_wrap_too(turns, units):
    blocks = [block("a", 3), block("b", 1), block("c", 5)]
    assert ring_for_two(blocks, turns) == units * UNIT


def test_what_is_left_over_makes_the_ring_longer():
    # Two of ten stay at least; 3 units don't hold a third and a ring of two blocks.
    division = divide(equal(10, units=4), range(10), 19 * UNIT)
    assert (len(division.resident), division.ring_nbytes) == (2, 11 * UNIT)
