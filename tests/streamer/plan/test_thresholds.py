"""The budgets at which the resident set changes, against plans made for every budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import make_plan, smallest_budget
from streamer.plan.thresholds import thinned, thresholds
from tests.streamer.plan.examples import UNIT, any_turns, block, equal


@given(any_turns())
def test_the_resident_set_changes_there_and_nowhere_else(example):
    smallest = smallest_budget(example.blocks)
    everything = example.pinned_nbytes + example.movable_nbytes
    wanted = [smallest]
    kept = make_plan(example.blocks, example.order, smallest).resident
    for budget in range(-(-smallest // UNIT) * UNIT, everything + 3 * UNIT, UNIT):
        resident = make_plan(example.blocks, example.order, budget).resident
        if resident != kept:
            assert make_plan(example.blocks, example.order, budget - 1).resident == kept
            wanted.append(budget)
        kept = resident
    assert list(thresholds(example.blocks, example.order)) == wanted


@given(any_turns())
def test_from_the_last_on_nothing_streams(example):
    last = thresholds(example.blocks, example.order)[-1]
    assert make_plan(example.blocks, example.order, last).streamed == ()


def test_equal_blocks_stay_one_by_one_once_there_is_a_ring_for_two():
    # One at a time and two at a time nothing is kept. A ring for the last two is as much as keeping them.
    found = thresholds([block("rest", 1, pinned=True), *equal(5, units=2)], [1, 2, 3, 4, 5])
    assert [budget // UNIT for budget in found] == [3, 7, 9, 11]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40, unique=True).map(sorted), st.integers(2, 12))
def test_thinned_keeps_the_ends_and_the_order(budgets, most):
    found = thinned(budgets, most)
    assert len(found) == min(len(budgets), most)
    assert (found[0], found[-1]) == (budgets[0], budgets[-1])
    assert list(found) == sorted(set(found))
    assert set(found) <= set(budgets)
