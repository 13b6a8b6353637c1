"""A plan in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import Plan, make_plan
from streamer.plan.explain import cycle_picture, rows, summary
from tests.streamer.plan.examples import UNIT, any_turns, block, budgets, equal


@given(any_turns(), st.data())
def test_every_block_has_one_row_pinned_ones_first_then_by_turn(example, data):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    table = rows(plan)
    assert sorted(row.name for row in table) == sorted(b.name for b in plan.blocks)
    assert sum(row.turns for row in table) == len(plan.order)
    turns = [plan.order.index(int(row.name[1:])) for row in table if row.turns]
    assert turns == sorted(turns)
    pinned = sum(b.pinned for b in plan.blocks)
    assert all(plan.blocks[int(row.name[1:])].pinned for row in table[:pinned])
    assert sum(row.nbytes for row in table if row.stays) == plan.resident_nbytes


@given(any_turns(), st.data(), st.integers(1, 100))
def test_the_picture_of_the_cycle_has_the_width_asked_for(example, data, width):
    plan = make_plan(example.blocks, example.order, data.draw(budgets(example)))
    picture = cycle_picture(plan, width)
    assert len(picture) == (width if plan.order else 0)
    if not plan.streamed:
        assert "." not in picture


def test_the_picture_shows_what_stays():
    blocks = [block("a", 4, runway=True), block("b", 2), block("c", 2), block("d", 2)]
    plan = make_plan(blocks, [1, 0, 2, 3], 8 * UNIT)
    assert plan.resident == {0}
    assert cycle_picture(plan, width=20) == "....########........"


def test_the_summary_says_how_much_stays_and_how_much_streams():
    assert summary(make_plan(equal(4, units=1000), range(4), 3000 * UNIT)) == (
        "1 of 4 blocks stay on the device (512 KB), 1.54 MB stream in each step, within a budget of 1.54 MB."
    )


def test_the_summary_of_a_plan_in_which_everything_stays():
    assert summary(make_plan(equal(4, units=1000), range(4), 4000 * UNIT)) == (
        "All 4 blocks (2.05 MB) stay on the device, within a budget of 2.05 MB."
    )


def packed_plan() -> Plan:
    blocks = [block("rest", 2, pinned=True), *(block(f"b{i}", 16, packed=2) for i in range(8))]
    return make_plan(blocks, range(1, 9), (2 + 2 * 6 + 2 + 4 + 32) * UNIT)


def test_the_summary_of_a_plan_with_packed_blocks_says_how_many_stay_and_move_so():
    assert summary(packed_plan()) == (
        "7 of 9 blocks stay on the device (7.17 KB), 6 of them packed; "
        "2.05 KB stream in each step, 2 blocks of them packed, within a budget of 26.6 KB."
    )


def test_the_picture_and_the_rows_show_what_stays_packed():
    plan = packed_plan()
    assert cycle_picture(plan, width=16) == "".join("++" if i in plan.kept else ".." for i in plan.order)
    assert [row.name for row in rows(plan) if not row.stays] == [plan.blocks[i].name for i in plan.streamed]


def test_a_block_without_a_turn_is_not_said_to_stay():
    assert summary(make_plan(equal(3), [0, 1], 4 * UNIT)).startswith("2 of 3 blocks stay")
