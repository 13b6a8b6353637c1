"""The laws of the plan that only time can break, over random blocks, budgets and machines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.simulate import Costs, LoadCost, Machine, Run, simulate
from streamer.plan import Plan, lay_out, make_plan, smallest_budget

STEPS = 4
seconds = st.floats(0.0, 3.0)


def plan_of(sizes: list[int], budget: int, order: list[int] | None = None, tensors: int = 2) -> Plan:
    """Blocks of so many units a tensor; the first is pinned. The budget in units above the smallest that works."""
    blocks = [
        lay_out(f"b{i}", [(f"b{i}.{t}", (size * 128,)) for t in range(tensors)], 4, pinned=i == 0)
        for i, size in enumerate(sizes)
    ]
    order = list(range(1, len(sizes))) if order is None else order
    return make_plan(blocks, order, smallest_budget(blocks) + budget * 512)


def costs_of(plan: Plan, turn: list[float], load: list[float], later: float = 1.0) -> Costs:
    """Seconds taken from the lists, round and round."""
    turns = range(len(plan.order))
    first = tuple(
        tuple(LoadCost(load[(i + t) % len(load)], 1000) for t in range(len(block.tensors)))
        for i, block in enumerate(plan.blocks)
    )
    again = tuple(tuple(LoadCost(cost.decode_seconds * later, 500) for cost in block) for block in first)
    return Costs(
        tuple(turn[t % len(turn)] for t in turns), tuple(turn[t % len(turn)] / 10 for t in turns), first, again
    )


machines = st.builds(
    Machine,
    cores=st.integers(1, 4),
    compute_threads=st.integers(0, 4),
    workers=st.integers(0, 4),
    link=st.sampled_from([None, 1e3, 1e6]),
    disk=st.sampled_from([None, 1e3, 1e6]),
    load_in_pauses=st.booleans(),
).map(
    # A device of its own has a link to it; and where the host computes there is none.
    lambda m: replace(m, link=None if m.compute_threads else m.link or 1e4)
)


@st.composite
def examples(draw: st.DrawFn) -> tuple[Plan, Costs, Machine]:
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=9))
    some = st.lists(st.integers(1, len(sizes) - 1), min_size=1, max_size=12)
    order = draw(st.one_of(st.none(), some))
    plan = plan_of(sizes, draw(st.integers(0, 60)), order, draw(st.integers(1, 3)))
    lists = st.lists(seconds, min_size=1, max_size=7)
    return plan, costs_of(plan, draw(lists), draw(lists), draw(st.floats(0, 2))), draw(machines)


def stays_of(run: Run, block: int) -> list[tuple[float, float, float]]:
    """From when, complete from when, and until when the block was in its slot."""
    return [
        (stay.since, stay.ready if stay.ready is not None else 1e30, stay.until if stay.until is not None else 1e30)
        for stay in run.stays
        if stay.block == block
    ]


@given(examples())
def test_every_block_is_in_its_slot_before_its_turn_and_to_its_end(example):
    plan, costs, machine = example
    run = simulate(plan, costs, machine, STEPS)
    assert [turn.block for turn in run.turns] == list(plan.order) * STEPS
    for turn in run.turns:
        assert turn.wanted <= turn.start <= turn.end
        assert any(ready <= turn.start and turn.end <= until for _, ready, until in stays_of(run, turn.block))


@given(examples())
def test_at_no_instant_two_blocks_share_a_byte_or_more_is_live_than_the_budget(example):
    plan, costs, machine = example
    run = simulate(plan, costs, machine, STEPS)
    lives = [(block, since, until) for block in range(len(plan.blocks)) for since, _, until in stays_of(run, block)]
    assert all(since <= until for _, since, until in lives)
    lives = [life for life in lives if life[1] < life[2]]  # what took no time was never there
    for block, since, _ in lives:
        there = [other for other in lives if other[1] <= since < other[2]]
        assert sum(plan.blocks[other].nbytes for other, _, _ in there) <= plan.budget_nbytes
        for other, _, _ in there:
            assert other == block or not plan.slots[block].overlaps(plan.slots[other])


@given(examples())
def test_the_device_computes_one_turn_after_the_other_and_no_faster_than_it_can(example):
    plan, costs, machine = example
    run = simulate(plan, costs, machine, STEPS)
    free = 0.0
    for number, turn in enumerate(run.turns):
        assert turn.wanted >= free + costs.gap_seconds[number % len(plan.order)] - 1e-9
        assert turn.end - turn.start >= costs.turn_seconds[number % len(plan.order)] - 1e-9
        free = turn.end
    assert len(run.step_ends) == STEPS
    assert run.step_ends == sorted(run.step_ends)


@given(examples())
def test_a_block_that_stays_comes_once_and_one_that_streams_once_for_each_turn(example):
    plan, costs, machine = example
    run = simulate(plan, costs, machine, STEPS)
    for block in set(plan.order):
        uses = STEPS * plan.order.count(block)
        came = len(stays_of(run, block))
        if block in plan.resident:
            assert came == 1
        else:
            # What comes for the step after the last has nobody to use it.
            assert uses <= came <= uses + 1


@given(examples())
def test_with_room_for_everything_nothing_comes_after_the_first_step_and_nothing_waits(example):
    plan, costs, machine = example
    plan = make_plan(plan.blocks, plan.order, plan.total_nbytes)
    run = simulate(plan, costs, machine, STEPS)
    assert all(stay.since <= run.step_ends[0] and stay.until is None for stay in run.stays)
    last = run.turns[-len(plan.order) :]
    assert all(turn.start - turn.wanted == pytest.approx(0) for turn in last)
    if not machine.compute_threads or machine.compute_threads <= machine.cores:
        assert run.step_ends[-1] - run.step_ends[-2] == pytest.approx(costs.compute_seconds, abs=1e-6)


def even(plan: Plan, turn: float, load: float) -> Costs:
    return costs_of(plan, [turn], [load])


def test_prefetch_wraps_the_first_block_of_a_step_arrives_during_the_one_before():
    plan = plan_of([1, 2, 2, 2, 2], budget=4)  # a ring for two of four, none stays
    assert (plan.streamed, plan.double_buffered) == (plan.order, True)
    run = simulate(plan, even(plan, 1.0, 0.1), Machine(4, 1, 1), STEPS)
    for step in range(1, STEPS):
        first = run.turns[step * len(plan.order)]
        ready = max(ready for since, ready, _ in stays_of(run, first.block) if since <= first.start)
        assert ready < run.step_ends[step - 1]
        assert first.start == first.wanted


def test_with_one_slot_loading_and_computing_take_turns():
    plan = plan_of([1, 2, 2, 2], budget=0, tensors=1)
    run = simulate(plan, even(plan, 1.0, 0.5), Machine(4, 1, 3), STEPS)
    # Each turn: half a second to load, a tenth for what is in no block beside it, one second to compute.
    assert run.step_ends[-1] - run.step_ends[-2] == pytest.approx(3 * 1.5)


def test_without_workers_the_computing_thread_loads_everything_itself():
    plan = plan_of([1, 2, 2, 2, 2], budget=4)
    run = simulate(plan, even(plan, 1.0, 0.5), Machine(4, 1, 0), STEPS)
    assert run.step_ends[-1] - run.step_ends[-2] == pytest.approx(4 * 1.1 + 4 * 2 * 0.5)


def test_a_slow_link_is_what_a_step_takes():
    plan = plan_of([1, 2, 2, 2, 2], budget=2, tensors=1)
    run = simulate(plan, even(plan, 0.01, 0.01), Machine(4, 0, 2, link=1024.0), STEPS)
    assert run.step_ends[-1] - run.step_ends[-2] == pytest.approx(plan.streamed_nbytes / 1024, rel=0.02)


def test_a_staging_buffer_is_written_again_only_after_its_copy_ended():
    plan = plan_of([1, 10, 1, 1], budget=60, tensors=1)
    seconds = (0.0, 0.0, 0.0, 9.0)
    loads = tuple((LoadCost(s),) for s in seconds)
    run = simulate(plan, Costs((0.0,) * 3, (0.0,) * 3, loads, loads), Machine(4, 0, 2, link=512.0), 1)
    # One second a unit: the pinned block is copied until 1, the large one until 11, the third until 12. The two buffers
    # are free again at 1 and at 11, so only then the last is decoded, for 9 seconds, and copied for one.
    assert [stay.ready for stay in run.stays] == pytest.approx([1, 11, 12, 21])


def test_a_slow_disk_is_what_a_step_takes_and_reads_ahead_while_others_decode():
    plan = plan_of([1, 2, 2, 2, 2], budget=2, tensors=1)
    run = simulate(plan, even(plan, 0.01, 0.4), Machine(4, 1, 1, disk=500.0), STEPS)
    # One second to read each block and 0.4 to decode it: the reading of the next goes on meanwhile.
    assert run.step_ends[-1] - run.step_ends[-2] == pytest.approx(4 * 1.0, rel=0.02)


def test_decoding_slows_a_computing_cpu_and_not_a_device_of_its_own():
    plan = plan_of([1, 2, 2, 2, 2], budget=2, tensors=1)
    on_cpu = simulate(plan, even(plan, 1.0, 0.5), Machine(2, 2, 2), STEPS)
    on_device = simulate(plan, even(plan, 1.0, 0.5), Machine(2, 0, 2, link=1e9), STEPS)
    # Two processors for 4.4 seconds of two threads and for 2 seconds of decoding.
    assert on_cpu.step_ends[-1] - on_cpu.step_ends[-2] == pytest.approx(4.4 + 2 / 2)
    assert on_device.step_ends[-1] - on_device.step_ends[-2] == pytest.approx(4.4)


def test_decoding_in_pauses_leaves_the_computing_alone_once_all_is_in_memory():
    plan = plan_of([1, 2, 2, 2, 2], budget=4, tensors=2)
    costs = even(plan, 1.0, 0.5)
    run = simulate(plan, costs, Machine(2, 2, 2, load_in_pauses=True), STEPS)
    later = run.turns[-len(plan.order) :]
    assert [turn.end - turn.start for turn in later] == pytest.approx([1.0] * 4)
    assert [turn.start - turn.wanted for turn in later] == pytest.approx([0.5] * 4)
    # What the disk has to give is still loaded beside the computing.
    beside, always = (
        simulate(plan, costs, Machine(2, 2, 2, disk=1e6, load_in_pauses=pauses), STEPS) for pauses in (True, False)
    )
    assert beside.step_ends == always.step_ends
    assert max(turn.end - turn.start for turn in beside.turns) > 1.4
