"""The schedule as a state machine: whatever the compute thread does, it gets each block; slots are never shared."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import Plan, lay_out, make_plan, smallest_budget
from streamer.runtime.lifecycle import BlockState
from streamer.runtime.schedule import Claim, Schedule


def plan_of(sizes: list[int], budget: int | None = None, order: list[int] | None = None, tensors: int = 1) -> Plan:
    """Blocks of so many aligned units; the first is pinned."""
    blocks = [
        lay_out(f"b{i}", [(f"b{i}.{t}", (size * 128,)) for t in range(tensors)], 4, pinned=i == 0)
        for i, size in enumerate(sizes)
    ]
    order = list(range(1, len(sizes))) if order is None else order
    return make_plan(blocks, order, smallest_budget(blocks) if budget is None else budget * 512)


class Machine:
    """Workers and device in one thread: loads claimed tensors in any order, and checks the slots."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.schedule = Schedule(plan)
        self.random = random.Random(seed)
        self.claimed: list[Claim] = []

    def live(self) -> list[int]:
        return [i for i in range(len(self.plan.blocks)) if self.schedule.states[i] is not BlockState.EMPTY]

    def check(self) -> None:
        live = self.live()
        for a in live:
            for b in live:
                assert a == b or not self.plan.slots[a].overlaps(self.plan.slots[b])
        assert sum(self.plan.blocks[i].nbytes for i in live) <= self.plan.budget_nbytes

    def work(self) -> bool:
        """One move of a worker; False if there is nothing to do."""
        claim = self.schedule.claim()
        if claim is not None:
            self.claimed.append(claim)
        elif not self.claimed:
            return False
        if claim is None or self.random.random() < 0.5:
            done = self.claimed.pop(self.random.randrange(len(self.claimed)))
            if self.schedule.is_last(done):
                self.schedule.arrived(done.block)
        self.check()
        return True

    def use(self, block: int) -> bool:
        """A turn of the compute thread; returns whether it was the expected one."""
        expected = self.schedule.expect(block)
        while not self.schedule.take(block):
            assert self.work(), f"block {block} never comes"
        for _ in range(self.random.randrange(4)):
            self.work()
        assert self.schedule.states[block] is BlockState.ACTIVE
        self.schedule.release(block)
        self.check()
        return expected


sizes = st.lists(st.integers(1, 9), min_size=2, max_size=12)


def test_the_next_steps_blocks_come_as_early_as_their_slots_are_free_and_not_only_during_the_last_turn():
    plan = plan_of([1, 2, 2, 2, 2, 2, 2], budget=5)  # a ring for two of six, none stays
    assert plan.streamed == plan.order
    machine = Machine(plan, 0)
    for block in plan.order[:4]:
        machine.use(block)
    while machine.work():
        pass
    # The fifth and the sixth are there; while the fifth runs, nothing else has room.
    assert [b for b in plan.order if b in machine.live()] == list(plan.order[4:])
    machine.use(plan.order[4])
    while machine.work():
        pass
    assert plan.order[0] in machine.live()  # before the sixth has had its turn


@given(sizes, st.integers(0, 60), st.integers(1, 3), st.integers(0, 1 << 30))
def test_every_block_comes_in_order_within_any_budget(given_sizes, extra, tensors, seed):
    least = plan_of(given_sizes, tensors=tensors)
    plan = plan_of(given_sizes, least.budget_nbytes // 512 + extra, tensors=tensors)
    machine = Machine(plan, seed)
    for _ in range(3):
        machine.use(0)
        for block in plan.order:
            assert machine.use(block)


@given(sizes, st.integers(0, 30), st.data())
def test_every_block_comes_in_any_other_order_too(given_sizes, extra, data):
    least = plan_of(given_sizes, tensors=2)
    plan = plan_of(given_sizes, least.budget_nbytes // 512 + extra, tensors=2)
    machine = Machine(plan, data.draw(st.integers(0, 1 << 30)))
    for block in data.draw(st.lists(st.sampled_from(plan.order), max_size=30)):
        machine.use(block)
    for block in plan.order:
        machine.use(block)
    assert all(machine.use(block) for block in plan.order)


@given(sizes, st.data())
def test_blocks_without_a_turn_come_on_demand(given_sizes, data):
    everyone = list(range(1, len(given_sizes)))
    some = data.draw(st.lists(st.sampled_from(everyone), min_size=1, unique=True))
    machine = Machine(plan_of(given_sizes, order=some), data.draw(st.integers(0, 1 << 30)))
    for block in data.draw(st.permutations(everyone)):
        machine.use(block)


@given(st.lists(st.integers(1, 5), min_size=3, max_size=6), st.data())
def test_a_block_with_several_turns_comes_for_each(given_sizes, data):
    everyone = list(range(1, len(given_sizes)))
    order = data.draw(st.lists(st.sampled_from(everyone), min_size=2, max_size=12))
    machine = Machine(plan_of(given_sizes, order=order), data.draw(st.integers(0, 1 << 30)))
    for _ in range(3):
        for block in order:
            machine.use(block)


def test_pinned_blocks_come_first_and_stay():
    machine = Machine(plan_of([2, 3, 3, 3]), 0)
    machine.work()
    assert machine.live() == [0]
    for block in (0, 1, 2, 3, 1, 2):
        machine.use(block)
        assert block == 0 or machine.schedule.states[0] is not BlockState.EMPTY


def test_with_room_for_everything_nothing_is_loaded_twice():
    machine = Machine(plan_of([1, 2, 3, 4], 10), 0)
    for block in (0, 1, 2, 3):
        machine.use(block)
    assert [machine.use(block) for block in (1, 2, 3)] == [True, True, True]
    assert machine.schedule.claim() is None
    assert machine.live() == [0, 1, 2, 3]


def test_the_next_step_is_fetched_before_this_one_ends():
    # Two equal blocks too many for one slot, room for two: while the last runs, the first of the next step arrives.
    plan = plan_of([1, 2, 2, 2, 2], 5)
    machine = Machine(plan, 0)
    for block in (0, 1, 2, 3):
        machine.use(block)
    machine.schedule.expect(4)
    while not machine.schedule.take(4):
        machine.work()
    while machine.work():
        pass
    assert machine.schedule.states[1] is BlockState.READY


def test_what_was_fetched_for_another_order_makes_room():
    plan = plan_of([1, 4, 4, 4, 4], 9)
    machine = Machine(plan, 0)
    machine.use(0)
    while machine.work():
        pass
    assert machine.schedule.states[1] is BlockState.READY
    assert not machine.use(3)
    assert machine.use(4)


def test_a_step_that_is_not_allowed_is_a_bug():
    schedule = Schedule(plan_of([1, 1]))
    with pytest.raises(RuntimeError, match="EMPTY to ACTIVE"):
        schedule.states.move(1, BlockState.ACTIVE)
