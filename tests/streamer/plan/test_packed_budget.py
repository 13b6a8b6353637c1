"""How a budget is divided where blocks can stay and move packed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import make_plan
from streamer.plan.budget import divide
from streamer.plan.packed import scratch_nbytes
from streamer.plan.packed_budget import divide_best, divide_packed, moved_nbytes
from tests.streamer.plan.examples import UNIT, any_turns, block, budgets, some_packed

SCRATCH = 4 * UNIT  # for blocks of 16 units


@given(some_packed(), st.data())
def test_a_bigger_budget_never_moves_more_bytes(example, data):
    some = sorted(data.draw(st.lists(budgets(example), min_size=2, max_size=6)))
    plans = [make_plan(example.blocks, example.order, budget) for budget in some]
    for smaller, bigger in pairwise(plans):
        assert bigger.streamed_nbytes <= smaller.streamed_nbytes


@given(some_packed(), st.data())
def test_packed_forms_never_make_it_move_more(example, data):
    budget = data.draw(budgets(example))
    dense = make_plan([replace(b, packed=None) for b in example.blocks], example.order, budget)
    plan = make_plan(example.blocks, example.order, budget)
    assert plan.streamed_nbytes <= dense.streamed_nbytes
    if plan.streamed_nbytes == dense.streamed_nbytes:
        assert not plan.packed  # what saves nothing isn't expanded


@given(some_packed(), st.data())
def test_a_bigger_budget_keeps_a_superset_and_a_superset_dense(example, data):
    some = sorted(data.draw(st.lists(budgets(example), min_size=2, max_size=6)))
    divisions = [d for b in some if (d := divide_packed(example.blocks, example.order, b)) is not None]
    for smaller, bigger in pairwise(divisions):
        assert bigger.resident >= smaller.resident
        assert bigger.resident | bigger.kept >= smaller.resident | smaller.kept


@given(some_packed(), st.data())
def test_everything_is_within_the_budget(example, data):
    budget = data.draw(budgets(example))
    division = divide_packed(example.blocks, example.order, budget)
    if division is None:
        return
    blocks = example.blocks
    packed = sum(blocks[i].packed.nbytes for i in division.kept)
    dense = sum(blocks[i].nbytes for i in division.resident)
    assert packed + dense + division.landing_nbytes + division.scratch_nbytes + division.ring_nbytes <= budget
    moving = [b.nbytes for i, b in enumerate(blocks) if i not in division.resident]
    assert division.ring_nbytes >= max(moving, default=0)


@given(any_turns(), st.data())
def test_without_packed_forms_there_is_nothing_else_to_choose(example, data):
    budget = data.draw(budgets(example))
    assert divide_packed(example.blocks, example.order, budget) is None
    assert divide_best(example.blocks, example.order, budget) == divide(example.blocks, example.order, budget)


def test_with_room_for_every_packed_form_nothing_moves():
    blocks = [block(f"b{i}", 16, packed=2) for i in range(8)]
    needed = 8 * 2 * UNIT + SCRATCH + 32 * UNIT
    fits, short = (divide_best(blocks, range(8), needed - less) for less in (0, UNIT))
    assert (fits.kept, moved_nbytes(blocks, range(8), fits)) == (frozenset(range(8)), 0)
    assert len(short.kept) == 6  # one streams, and what it lands in takes another's place
    assert moved_nbytes(blocks, range(8), short) == 4 * UNIT


def test_what_is_left_when_everything_stays_is_for_keeping_some_dense():
    blocks = [block(f"b{i}", 16, packed=2) for i in range(8)]
    division = divide_best(blocks, range(8), 8 * 2 * UNIT + SCRATCH + (32 + 2 * 14) * UNIT)
    assert (len(division.resident), len(division.kept)) == (2, 6)
    assert division.ring_nbytes >= 32 * UNIT


def test_with_room_for_everything_dense_nothing_is_packed():
    blocks = [block(f"b{i}", 16, packed=2) for i in range(4)]
    division = divide_best(blocks, range(4), 64 * UNIT)
    assert (division.resident, division.packed, division.scratch_nbytes) == (frozenset(range(4)), frozenset(), 0)


def test_a_packed_form_that_saves_less_than_its_workspace_costs_is_left_alone():
    blocks = [block("a", 8, packed=7), *(block(f"b{i}", 8) for i in range(6))]
    assert divide_best(blocks, range(7), 40 * UNIT).packed == frozenset()


def test_below_the_budget_for_a_ring_of_two_packed_blocks_still_move_packed():
    blocks = [block(f"b{i}", 16, packed=2) for i in range(4)]
    division = divide_best(blocks, range(4), (16 + 2) * UNIT + SCRATCH)
    assert (division.resident, division.kept, division.packed) == (frozenset(), frozenset(), frozenset(range(4)))
    assert moved_nbytes(blocks, range(4), division) == 4 * 2 * UNIT
    assert divide_best(blocks, range(4), (16 + 2) * UNIT + SCRATCH - 1).packed == frozenset()


@given(st.integers(1, 1 << 36))
def test_scratch_memory_is_small_beside_the_largest_block_and_bounded(nbytes):
    assert 1024 <= scratch_nbytes(nbytes) <= max(1024, min(16 << 20, nbytes // 4 + UNIT))
    assert scratch_nbytes(nbytes) % UNIT == 0
