"""The planner's laws, over random blocks, orders and budgets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import BudgetError
from streamer.plan import make_plan, smallest_budget
from streamer.plan.placement import crowded
from tests.streamer.plan.examples import (
    UNIT,
    Example,
    any_turns,
    block,
    budgets,
    equal,
    once_each,
    simulate,
    some_packed,
)


@given(st.one_of(once_each(), any_turns(), some_packed()), st.data(), st.integers(0, 30))
def test_every_block_is_in_its_slot_before_its_turn_step_after_step(example, data, ahead):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    first, *later = simulate(plan, 4, min(ahead, len(example.order)))
    assert later == [plan.streamed_nbytes] * 3
    assert first >= plan.streamed_nbytes


@given(st.one_of(any_turns(), some_packed()), st.data())
def test_the_slab_is_within_the_budget_and_every_slot_within_the_slab(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    assert plan.arena_nbytes <= plan.budget_nbytes
    for each, slot in zip(plan.blocks, plan.slots, strict=True):
        assert slot.nbytes == each.nbytes
        assert slot.offset % UNIT == 0
        assert 0 <= slot.offset <= slot.end <= plan.arena_nbytes
    for slot in (*plan.kept_slots.values(), plan.landing, plan.scratch):
        assert slot.offset % UNIT == 0
        assert 0 <= slot.offset <= slot.end <= max(plan.arena_nbytes, slot.offset)


@given(st.one_of(any_turns(), some_packed()), st.data())
def test_what_stays_and_what_expanding_needs_shares_no_byte_with_anything(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    assert all(i in plan.resident for i, b in enumerate(plan.blocks) if b.pinned)
    own = [*(plan.slots[i] for i in sorted(plan.resident)), *plan.kept_slots.values(), plan.landing, plan.scratch]
    others = [plan.slots[i] for i in range(len(plan.blocks)) if i not in plan.resident]
    for n, slot in enumerate(own):
        assert not any(slot.overlaps(other) for other in own[:n] + others)


@given(any_turns(), st.data())
def test_the_blocks_to_wait_for_are_those_that_share_a_byte(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    bytes_of = [set(range(slot.offset // UNIT, slot.end // UNIT)) for slot in plan.slots]
    for i, mine in enumerate(bytes_of):
        assert plan.overlapping[i] == tuple(j for j, other in enumerate(bytes_of) if j != i and mine & other)


@given(any_turns(), st.integers(0, 3 * UNIT))
def test_with_room_for_everything_nothing_streams_after_the_first_step(example, extra):
    plan = make_plan(example.blocks, example.order, example.pinned_nbytes + example.movable_nbytes + extra)
    assert plan.streamed == ()
    assert simulate(plan, 3, len(example.order))[1:] == [0, 0]


@given(any_turns(), st.data())
def test_a_bigger_budget_keeps_more_and_never_streams_more(example, data):
    some = sorted(data.draw(st.lists(budgets(example), min_size=2, max_size=6)))
    plans = [make_plan(example.blocks, example.order, budget) for budget in some]
    for smaller, bigger in pairwise(plans):
        assert bigger.resident >= smaller.resident
        assert bigger.streamed_nbytes <= smaller.streamed_nbytes


@given(any_turns())
def test_the_smallest_budget_works_and_one_byte_less_names_it(example):
    smallest = smallest_budget(example.blocks)
    assert make_plan(example.blocks, example.order, smallest).arena_nbytes <= smallest
    with pytest.raises(BudgetError) as caught:
        make_plan(example.blocks, example.order, smallest - 1)
    assert caught.value.smallest_nbytes == smallest
    assert f"{smallest:,}" in str(caught.value)


@given(once_each(), st.data())
def test_what_streams_is_near_the_least_that_any_plan_can_stream(example, data):
    # At a step's start at most the budget is there, so the rest has to come: nothing streams less.
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    least = max(example.pinned_nbytes + example.movable_nbytes - plan.budget_nbytes, 0)
    three_largest = sum(sorted(b.nbytes for b in example.blocks if not b.pinned)[-3:])
    assert plan.streamed_nbytes >= least
    if plan.streamed:
        assert plan.streamed_nbytes < least + three_largest


def least_loads(count: int, slots: int) -> float:
    """Blocks that must be loaded in each step, of so many equal ones, by Belady's rule."""
    steps = 20 * count
    turns = list(range(count)) * steps
    there: set[int] = set()
    loads = 0
    for turn, wanted in enumerate(turns):
        if wanted not in there:
            if len(there) == slots:
                there.remove(max(there, key=lambda i: (i - wanted) % count))
            there.add(wanted)
            loads += turn >= count
    return loads / (steps - 1)


@given(st.integers(2, 10), st.data())
def test_with_a_slot_set_aside_for_what_arrives_it_is_within_one_block_of_belady(count, data):
    slots = data.draw(st.integers(2, count))
    plan = make_plan(equal(count), range(count), slots * UNIT)
    assert len(plan.streamed) <= least_loads(count, slots - 1) + 1


def two_in_a_row(example: Example) -> int:
    pairs = zip(example.order, example.order[1:] + example.order[:1], strict=True)
    return max((sum(example.blocks[i].nbytes for i in {a, b}) for a, b in pairs), default=0)


@given(once_each(), st.data())
def test_with_room_for_two_in_a_row_only_last_and_first_ever_share_bytes(example, data):
    least = max(example.pinned_nbytes + two_in_a_row(example), smallest_budget(example.blocks))
    plan = make_plan(example.blocks, example.order, data.draw(st.integers(least, least + 40 * UNIT)))
    sharing = crowded(plan.streamed, dict(enumerate(plan.slots)))
    if sharing:
        assert len(plan.streamed) % 2 == 1
        assert sharing == [(plan.streamed[-1], plan.streamed[0])]


@given(once_each(), st.data())
def test_without_room_for_two_in_a_row_nothing_stays_but_what_must(example, data):
    smallest = smallest_budget(example.blocks)
    below = example.pinned_nbytes + two_in_a_row(example) - 1
    plan = make_plan(example.blocks, example.order, data.draw(st.integers(smallest, max(smallest, below))))
    if plan.budget_nbytes <= below:
        assert all(plan.blocks[i].pinned for i in plan.resident)


@given(once_each(), st.data())
def test_double_buffered_means_that_while_one_runs_the_next_can_arrive(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    in_time = all(a == b or not plan.slots[a].overlaps(plan.slots[b]) for a, b in pairwise(plan.streamed * 2))
    assert plan.double_buffered == in_time


@given(some_packed(), st.data())
def test_packed_forms_have_their_room_and_packed_blocks_land_where_they_fit(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    assert plan.kept_slots.keys() == plan.kept <= plan.packed
    assert not plan.packed & plan.resident
    for i in plan.packed:
        form = plan.blocks[i].packed
        assert form is not None
        assert plan.upload_nbytes(i) == form.nbytes <= (plan.kept_slots[i] if i in plan.kept else plan.landing).nbytes
    assert (plan.scratch.nbytes > 0) == bool(plan.packed)
    assert all(plan.upload_nbytes(i) == plan.blocks[i].nbytes for i in range(len(plan.blocks)) if i not in plan.packed)


def test_a_budget_that_is_no_multiple_of_the_alignment_leaves_slots_aligned():
    plan = make_plan(equal(6, units=3), range(6), 11 * UNIT + 257)
    assert all(slot.offset % UNIT == 0 for slot in plan.slots)


def test_the_runway_is_kept_first():
    blocks = [block(f"b{i}", 2, runway=i in (0, 1, 7)) for i in range(8)]
    plan = make_plan(blocks, range(8), (3 * 2 + 4) * UNIT)
    assert plan.resident == {0, 1, 7}


@pytest.mark.parametrize("wrong", [0, 2, -1])
def test_only_a_block_that_can_move_has_turns(wrong):
    with pytest.raises(ValueError, match="turn of block"):
        make_plan([block("rest", 1, pinned=True), block("b", 1)], [1, wrong], 10 * UNIT)


def test_a_model_without_blocks_that_move_still_has_a_plan():
    plan = make_plan([block("rest", 3, pinned=True)], [], 3 * UNIT)
    assert (plan.arena_nbytes, plan.streamed, plan.resident) == (3 * UNIT, (), {0})
