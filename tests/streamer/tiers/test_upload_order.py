"""Copies and compute on two streams: whatever runs late, each block's compute reads that block's weights."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import Plan, lay_out, make_plan, smallest_budget
from streamer.runtime.schedule import Schedule
from streamer.tiers import upload as uploading
from streamer.tiers.staging import StagingPool
from streamer.tiers.upload import StagedUpload
from tests.streamer.tiers.cuda_double import Device, Slot, install


class FakeArena:
    def __init__(self, device: Device, nbytes: int) -> None:
        self.device = device
        self.slab = torch.zeros(nbytes, dtype=torch.uint8)

    def slot(self, plan: Plan, block: int) -> Slot:
        slot = plan.slots[block]
        return Slot(self.device, self.slab[slot.offset : slot.end])


def plan_of(sizes: list[int], extra: int) -> Plan:
    blocks = [lay_out(f"b{i}", [(f"b{i}", (size * 128,))], 4) for i, size in enumerate(sizes)]
    return make_plan(blocks, range(len(sizes)), smallest_budget(blocks) + extra * 512)


def run(plan: Plan, seed: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, set[float]]]:
    """Runs some steps; gives for each turn the block and the values that its compute read."""
    device = Device(seed)
    install(monkeypatch, device)
    arena = FakeArena(device, plan.arena_nbytes)
    pool = StagingPool(2, max(b.nbytes for b in plan.blocks), pinned=False)
    upload = StagedUpload(plan, arena, torch.float32, torch.device("cuda"), pool, lambda: False)
    schedule = Schedule(plan)
    chance = random.Random(seed)
    read: list[tuple[int, set[float]]] = []

    def load_one() -> bool:
        claim = schedule.claim()
        if claim is None:
            return False
        targets = upload.targets(claim.block)
        assert targets is not None
        targets[claim.tensor].fill_(claim.block + 1.0)
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
            slot = plan.slots[block]
            memory = arena.slab[slot.offset : slot.end].view(torch.float32)
            device.compute.queue.append(lambda block=block, memory=memory: read.append((block, set(memory.tolist()))))
            upload.after_use(block)
            schedule.release(block)
            while chance.random() < 0.5 and device.run_one():
                pass
    upload.drain()
    return read


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 12), st.integers(0, 1 << 30))
def test_each_block_reads_its_own_weights_whatever_runs_late(sizes, extra, seed):
    plan = plan_of(sizes, extra)
    with pytest.MonkeyPatch.context() as monkeypatch:
        read = run(plan, seed, 3, monkeypatch)
    assert read == [(block, {block + 1.0}) for _ in range(3) for block in plan.order]


@pytest.mark.parametrize("left_out", ["before_use", "after_use", "ready"])
def test_the_double_notices_each_wait_that_is_left_out(left_out, monkeypatch):
    if left_out == "ready":
        monkeypatch.setattr(uploading.Lease, "ready", lambda self: None, raising=False)
        monkeypatch.setattr(StagingPool, "give_back", lambda self, lease, _: self._free.append(lease))
    else:
        monkeypatch.setattr(StagedUpload, left_out, lambda self, block: None)
    plan = plan_of([1, 2, 3, 2, 1], 3)
    want = [(block, {block + 1.0}) for _ in range(3) for block in plan.order]
    results = [run(plan, seed, 3, monkeypatch) for seed in range(30)]
    assert any(read != want for read in results)
