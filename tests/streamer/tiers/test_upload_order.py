"""Copies, expansion and compute on two streams: whatever runs late, each block's compute reads that block's weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import Plan, Slot, lay_out, make_plan, smallest_budget
from streamer.plan.packed import InflatedSizes, PackedPlace
from streamer.runtime.schedule import Schedule
from streamer.sources.inflated import InflatedSections
from streamer.tiers import upload as uploading
from streamer.tiers.arena import Arena
from streamer.tiers.staging import StagingPool
from streamer.tiers.targets import Target
from streamer.tiers.upload import StagedUpload
from tests.streamer.tiers.cuda_double import Device, Stream, install


def plan_of(sizes: list[int], extra: int, packed: list[bool] | None = None) -> Plan:
    """Blocks of so many rows of 128 weights; those that are packed can also move as a sixth of their bytes."""
    blocks = []
    for i, size in enumerate(sizes):
        inflated = [InflatedSizes(size, 128, 8, 16, 3)] if packed and packed[i] else []
        blocks.append(lay_out(f"b{i}", [(f"b{i}", (size, 128))], 4, inflated=inflated))
    return make_plan(blocks, range(len(sizes)), smallest_budget(blocks) + extra * 512)


def fill(target: Target, value: float, place: PackedPlace | None) -> None:
    """The weights all have the value, in the target's form: on the lattice, but for three of them in the overlay."""
    if isinstance(target, torch.Tensor):
        target.fill_(value)
        return
    assert place is not None
    target.sizes = place.inflated
    sections = InflatedSections.within(target.memory, place.inflated)
    sections.indices.random_(0, 3**8)
    sections.levels.view(torch.float16).fill_(value)
    sections.positions.copy_(torch.tensor([0, 5, 127]))
    sections.values.view(torch.float16).fill_(value)


def run(plan: Plan, device: Device, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, set[float]]]:
    """Runs some steps; gives for each turn the block and the values that its compute read."""
    install(monkeypatch, device)
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    arena.part(Slot(0, plan.arena_nbytes)).fill_(0)
    pool = StagingPool(2, max(plan.upload_nbytes(i) for i in range(len(plan.blocks))), pinned=False)
    upload = StagedUpload(plan, arena, torch.float32, torch.device("cuda"), pool, lambda: False)
    schedule = Schedule(plan)
    chance = device.random
    read: list[tuple[int, set[float]]] = []

    def load_one() -> bool:
        claim = schedule.claim()
        if claim is None:
            return False
        if not upload.holds(claim.block):
            targets = upload.targets(claim.block)
            assert targets is not None
            form = plan.blocks[claim.block].packed
            fill(targets[claim.tensor], claim.block + 1.0, form and form.places[claim.tensor])
        assert schedule.is_last(claim)
        upload.send(claim.block)
        schedule.arrived(claim.block)
        return True

    for _ in range(steps):
        for block in plan.order:
            assert schedule.expect(block)
            while not schedule.take(block):
                assert load_one()
            while chance.random() < 0.6 and load_one():
                pass
            upload.before_use(block)
            memory = arena.slot(plan, block).view(torch.float32)
            device.compute.queue.append(lambda block=block, memory=memory: read.append((block, set(memory.tolist()))))
            upload.after_use(block)
            schedule.release(block)
            while chance.random() < 0.5 and device.run_one():
                pass
    upload.drain()
    return read


def expected(plan: Plan, steps: int) -> list[tuple[int, set[float]]]:
    return [(block, {block + 1.0}) for _ in range(steps) for block in plan.order]


def goes_wrong(plan: Plan, seed: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    try:
        return run(plan, Device(seed), 3, monkeypatch) != expected(plan, 3)
    except IndexError:  # what should be a packed form is none
        return True


@st.composite
def plans(draw: st.DrawFn, *, packed: bool) -> Plan:
    sizes = draw(st.lists(st.integers(1, 4 if not packed else 20), min_size=1, max_size=8))
    forms = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))) if packed else None
    return plan_of(sizes, draw(st.integers(0, 12 if not packed else 60)), forms)


@pytest.mark.parametrize("packed", [False, True])
@given(st.data(), st.integers(0, 1 << 30))
def test_each_block_reads_its_own_weights_whatever_runs_late(packed, data, seed):
    plan = data.draw(plans(packed=packed))
    with pytest.MonkeyPatch.context() as monkeypatch:
        read = run(plan, Device(seed), 3, monkeypatch)
    assert read == expected(plan, 3)


SIZES = [10, 20, 30, 20, 10]
FORMS = {
    "dense": None,
    "packed": [True] * 5,  # all move packed, none is kept
    "kept": [True, True, False, True, True],
}
EXTRA = {"dense": 30, "packed": 30, "kept": 35}


def test_the_plans_below_have_the_forms_that_they_are_named_after():
    plans = {name: plan_of(SIZES, EXTRA[name], FORMS[name]) for name in FORMS}
    assert not plans["dense"].packed
    assert plans["packed"].packed == set(range(5))
    assert not plans["packed"].kept
    assert len(plans["kept"].kept) >= 2
    assert all(plan.streamed for plan in plans.values())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("left_out", ["before_use", "after_use", "ready", "wait for compute"])
def test_the_double_notices_each_wait_that_is_left_out(left_out, form, monkeypatch):
    if left_out == "ready":
        monkeypatch.setattr(uploading.Lease, "ready", lambda self: None, raising=False)
        monkeypatch.setattr(StagingPool, "give_back", lambda self, lease, _: self._free.append(lease))
    elif left_out == "wait for compute":
        monkeypatch.setattr(uploading._Streams, "_wait_for_compute", lambda self, previous: None)
    else:
        monkeypatch.setattr(StagedUpload, left_out, lambda self, block: None)
    plan = plan_of(SIZES, EXTRA[form], FORMS[form])
    assert any(goes_wrong(plan, seed, monkeypatch) for seed in range(30))


def test_the_double_notices_an_arrival_that_is_told_before_the_expansion(monkeypatch):
    def too_early(self, block, previous, move, clock):
        ended = carry_out(self, block, previous, move._replace(expand=lambda: None), clock)
        with torch.cuda.stream(self._copy_stream):
            move.expand()
        return ended

    carry_out = uploading._Streams.carry_out
    monkeypatch.setattr(uploading._Streams, "carry_out", too_early)
    plan = plan_of(SIZES, EXTRA["packed"], FORMS["packed"])
    assert any(goes_wrong(plan, seed, monkeypatch) for seed in range(30))


@pytest.mark.parametrize("wrong", ["waits", "allocates", "reads back"])
def test_the_double_notices_work_that_makes_the_host_wait_or_takes_memory(wrong, monkeypatch):
    device = Device(0)
    install(monkeypatch, device)
    there, here = torch.zeros(4), torch.ones(4)
    with torch.cuda.stream(device.compute):
        there.copy_(here, non_blocking=True)
        with pytest.raises(AssertionError):
            {"waits": lambda: there.copy_(here), "allocates": there.clone, "reads back": there[0].item}[wrong]()
    assert not there.any()
    device.run_all()
    assert there.all()


def test_drained_nothing_reads_the_slab_on_whatever_stream_it_was_computed(monkeypatch):
    # Its memory is given back next; who drains may be a thread with another current stream.
    device = Device(0)
    install(monkeypatch, device)
    plan = plan_of([1], 0)
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    pool = StagingPool(2, plan.arena_nbytes, pinned=False)
    upload = StagedUpload(plan, arena, torch.float32, torch.device("cuda"), pool, lambda: False)
    upload.targets(0)
    upload.send(0)
    upload.before_use(0)
    read: list[int] = []
    device.compute.queue.append(lambda: read.append(0))
    upload.after_use(0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream(device))
    upload.drain()
    assert read == [0]


def test_a_block_that_is_kept_packed_is_copied_once_and_expanded_at_each_turn(monkeypatch):
    plan = plan_of(SIZES, EXTRA["kept"], FORMS["kept"])
    sent: list[tuple[int, uploading.Moved]] = []
    send = StagedUpload.send
    monkeypatch.setattr(
        StagedUpload, "send", lambda self, block: sent.append((block, send(self, block))) or sent[-1][1]
    )
    assert run(plan, Device(0), 4, monkeypatch) == expected(plan, 4)
    for block in range(5):
        moved = [move for which, move in sent if which == block]
        copied = [move.copied_nbytes for move in moved]
        if block in plan.resident:
            assert copied == [plan.blocks[block].nbytes]
        elif block in plan.kept:
            assert copied == [plan.upload_nbytes(block)] + [0] * (len(moved) - 1)
            assert len(moved) >= 4
        else:
            assert copied == [plan.upload_nbytes(block)] * len(moved)
        expands = block in plan.packed
        assert all(move.expanded_nbytes == expands * SIZES[block] * 512 for move in moved)
