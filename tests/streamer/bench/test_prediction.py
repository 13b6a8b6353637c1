"""What is said about a run: its seconds in steady state, its waiting, and what bounds it."""

from __future__ import annotations

import pytest

from streamer.bench.prediction import COMPUTE, DECODE, DISK, EACH_OTHER, LINK, PROCESSORS, predict
from streamer.bench.simulate import Costs, LoadCost, Machine
from streamer.plan import Plan, lay_out, make_plan, smallest_budget

SIZE = 1024


def plan_of(count: int, room: int) -> Plan:
    """So many blocks of one size, and room for so many of them."""
    blocks = [lay_out(f"b{i}", [(f"b{i}", (SIZE // 4,))], 4) for i in range(count)]
    assert smallest_budget(blocks) == SIZE
    return make_plan(blocks, range(count), room * SIZE)


def costs_of(plan: Plan, compute: float, decode: float, disk_nbytes: int = 0) -> Costs:
    loads = tuple((LoadCost(decode, disk_nbytes),) for _ in plan.blocks)
    turns = (compute,) * len(plan.order)
    return Costs(turns, (0.0,) * len(turns), loads, loads)


@pytest.mark.parametrize(
    ("bound", "compute", "decode", "disk_nbytes", "machine"),
    [
        (COMPUTE, 1.0, 0.1, 0, Machine(4, 0, 2, link=1e6)),
        (PROCESSORS, 1.0, 0.9, 0, Machine(2, 2, 2)),
        (DECODE, 0.1, 1.0, 0, Machine(4, 1, 1)),
        (DISK, 0.1, 0.1, 1000, Machine(4, 1, 1, disk=1000)),
        (LINK, 0.1, 0.1, 0, Machine(4, 0, 2, link=SIZE)),
    ],
)
def test_what_takes_longest_bounds_it(bound, compute, decode, disk_nbytes, machine):
    plan = plan_of(6, 2)
    found = predict(plan, costs_of(plan, compute, decode, disk_nbytes), machine)
    assert found.bound == bound
    assert found.step_seconds == pytest.approx(found.limits[bound], rel=0.05)
    assert all(found.step_seconds >= limit - 1e-9 for limit in found.limits.values())


def test_with_one_slot_they_wait_for_each_other():
    plan = plan_of(6, 1)
    found = predict(plan, costs_of(plan, 1.0, 1.0), Machine(4, 1, 1))
    assert found.bound == EACH_OTHER
    assert found.step_seconds == pytest.approx(12)
    assert found.waited_seconds == pytest.approx(6)
    assert found.stall_seconds == pytest.approx([1] * 6)
    assert found.overlap == pytest.approx(0.5)


def test_overlap_is_the_busiest_resources_share_of_the_step():
    plan = plan_of(6, 2)
    found = predict(plan, costs_of(plan, 1.0, 0.5), Machine(2, 2, 2))
    # Twelve seconds of computing on two processors and three of decoding.
    assert found.step_seconds == pytest.approx(7.5)
    assert found.overlap == pytest.approx(6 / 7.5)


def test_bytes_and_seconds_are_of_what_streams_only():
    plan = plan_of(6, 4)
    machine = Machine(4, 0, 2, link=2 * SIZE, disk=50.0)
    found = predict(plan, costs_of(plan, 1.0, 0.25, 10), machine)
    assert len(plan.streamed) == 4
    assert found.decode_seconds == pytest.approx(4 * 0.25)
    assert found.link_seconds == pytest.approx(4 / 2)
    assert (found.disk_nbytes, found.disk_seconds) == (40, pytest.approx(40 / 50))


def test_the_first_step_loads_everything_and_is_not_counted():
    plan = plan_of(6, 6)
    found = predict(plan, costs_of(plan, 1.0, 1.0), Machine(4, 1, 1))
    assert found.first_step_seconds == pytest.approx(7)
    assert (found.step_seconds, found.waited_seconds) == (pytest.approx(6), pytest.approx(0))
    assert (found.bound, found.overlap) == (COMPUTE, pytest.approx(1))


def test_a_model_without_turns_takes_no_time():
    plan = make_plan([lay_out("rest", [("r", (4,))], 4, pinned=True)], [], SIZE)
    found = predict(plan, Costs((), (), ((LoadCost(1.0),),), ((LoadCost(1.0),),)), Machine(1, 1, 1))
    assert (found.step_seconds, found.stall_seconds, found.overlap) == (0, (), 1)
