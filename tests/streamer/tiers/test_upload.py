"""Blocks on their way into their slots, with the host as the device."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from streamer.plan import Plan, lay_out, make_plan
from streamer.plan.packed import InflatedSizes
from streamer.sources.inflated import InflatedSections
from streamer.tiers.arena import Arena
from streamer.tiers.staging import StagingPool
from streamer.tiers.targets import InflatedTarget, Target
from streamer.tiers.upload import DirectUpload, StagedUpload

CPU = torch.device("cpu")
SHAPES = [(3, 5), (), (7,)]


@pytest.fixture
def plan():
    blocks = [lay_out(f"b{i}", [(f"b{i}.{t}", s) for t, s in enumerate(SHAPES)], 4) for i in range(3)]
    return make_plan(blocks, range(3), 1 << 20)


@pytest.fixture
def arena(plan):
    return Arena(plan.arena_nbytes, CPU)


class Stop:
    """Says that it is all over once it is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.now = False

    def __call__(self) -> bool:
        self.asked.set()
        return self.now


def staged(plan: Plan, arena: Arena, buffers: int, stopped: Callable[[], bool] = lambda: False) -> StagedUpload:
    pool = StagingPool(buffers, max(b.nbytes for b in plan.blocks), pinned=False)
    return StagedUpload(plan, arena, torch.float32, CPU, pool, stopped)


def targets_of(upload: StagedUpload, block: int) -> tuple[torch.Tensor, ...]:
    targets = upload.targets(block)
    assert targets is not None
    return targets


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    return thread, results


def test_direct_targets_are_the_slots_themselves(plan, arena):
    views = tuple(arena.views(plan, i, torch.float32) for i in range(3))
    upload = DirectUpload(views)
    for block in range(3):
        targets = upload.targets(block)
        assert targets is views[block]
        assert not upload.holds(block)
        targets[0].fill_(block + 1)
        upload.send(block)
        upload.before_use(block)
        upload.after_use(block)
    upload.drain()
    assert [arena.views(plan, i, torch.float32)[0].max().item() for i in range(3)] == [1, 2, 3]


def test_what_is_written_to_the_targets_is_in_the_slot_after_send_and_not_before(plan, arena):
    upload = staged(plan, arena, buffers=1)
    for i in range(3):
        arena.slot(plan, i).fill_(0)
    targets = targets_of(upload, 1)
    assert [tuple(t.shape) for t in targets] == SHAPES
    for number, target in enumerate(targets):
        target.fill_(number + 1)
    assert not arena.slot(plan, 1).any()
    upload.send(1)
    upload.before_use(1)
    assert [view.unique().tolist() for view in arena.views(plan, 1, torch.float32)] == [[1], [2], [3]]
    assert not arena.slot(plan, 0).any()
    assert not arena.slot(plan, 2).any()
    upload.after_use(1)
    upload.drain()


def test_a_slot_does_not_change_when_its_buffer_is_used_again(plan, arena):
    upload = staged(plan, arena, buffers=1)
    for block in (0, 1):
        targets_of(upload, block)[0].fill_(block + 1)
        upload.send(block)
    assert arena.views(plan, 0, torch.float32)[0].unique().tolist() == [1]
    assert arena.views(plan, 1, torch.float32)[0].unique().tolist() == [2]


def test_threads_that_work_on_one_block_share_one_buffer(plan, arena):
    upload = staged(plan, arena, buffers=1)
    pointers = {targets_of(upload, 2)[0].data_ptr()}
    thread, results = in_thread(lambda: targets_of(upload, 2)[0].data_ptr())
    thread.join(10)
    assert {*pointers, *results} == pointers
    assert len(results) == 1


def test_blocks_on_their_way_together_have_buffers_of_their_own(plan, arena):
    upload = staged(plan, arena, buffers=2)
    for block in (0, 1):
        targets_of(upload, block)[0].fill_(block + 1)
    for block in (1, 0):
        upload.send(block)
    assert [arena.views(plan, i, torch.float32)[0].max().item() for i in (0, 1)] == [1, 2]


def test_without_a_free_buffer_a_thread_waits_until_one_is_given_back(plan, arena):
    stop = Stop()
    upload = staged(plan, arena, buffers=1, stopped=stop)
    targets_of(upload, 0)
    thread, results = in_thread(lambda: upload.targets(1))
    assert stop.asked.wait(10)
    assert not results
    upload.send(0)
    thread.join(10)
    assert len(results) == 1
    assert results[0] is not None


def test_a_thread_that_waits_for_a_buffer_ends_when_all_is_stopped(plan, arena):
    stop = Stop()
    upload = staged(plan, arena, buffers=1, stopped=stop)
    targets_of(upload, 0)
    thread, results = in_thread(lambda: upload.targets(1))
    assert stop.asked.wait(10)
    stop.now = True
    thread.join(1)
    assert results == [None]


def test_a_buffer_is_written_only_after_the_copy_from_it_has_ended(plan, arena):
    pool = StagingPool(1, plan.blocks[0].nbytes, pinned=False)
    upload = StagedUpload(plan, arena, torch.float32, CPU, pool, lambda: False)
    lease = pool.lease()
    assert lease is not None
    ended = threading.Event()

    def copy_ended() -> None:
        ended.wait(10)

    pool.give_back(lease, copy_ended)
    thread, results = in_thread(lambda: upload.targets(0))
    thread.join(0.1)
    assert not results
    ended.set()
    thread.join(10)
    assert len(results) == 1


@pytest.fixture
def packed() -> Plan:
    """Four blocks that move packed; one of them is kept so."""
    inflated = [InflatedSizes(64, 64, 8, 8, 4), None]
    blocks = [lay_out(f"b{i}", [(f"b{i}.0", (64, 64)), (f"b{i}.1", (9,))], 4, inflated=inflated) for i in range(4)]
    ring, kept, landing, scratch = 2 * blocks[0].nbytes, blocks[0].packed.nbytes, blocks[0].packed.nbytes, 4608
    plan = make_plan(blocks, range(4), ring + kept + landing + scratch)
    assert (len(plan.kept), plan.packed) == (1, set(range(4)))
    return plan


def fill(targets: tuple[Target, ...], plan: Plan, block: int, value: float) -> None:
    matrix, bias = targets
    assert isinstance(matrix, InflatedTarget)
    assert isinstance(bias, torch.Tensor)
    matrix.sizes = plan.blocks[block].packed.places[0].inflated
    sections = InflatedSections.within(matrix.memory, matrix.sizes)
    sections.indices.fill_(0)
    sections.levels.view(torch.float16).fill_(value)
    sections.positions.copy_(torch.tensor([1, 2, 3, 4095]))
    sections.values.view(torch.float16).fill_(value + 1)
    bias.fill_(value + 2)


def check(arena: Arena, plan: Plan, block: int, value: float) -> None:
    matrix, bias = arena.views(plan, block, torch.float32)
    want = torch.full((64 * 64,), value)
    want[[1, 2, 3, 4095]] = value + 1
    assert torch.equal(matrix.view(-1), want)
    assert bias.unique().tolist() == [value + 2]


def test_a_packed_block_is_in_its_slot_after_send_and_says_what_was_moved(packed):
    arena = Arena(packed.arena_nbytes, CPU)
    upload = staged(packed, arena, buffers=1)
    for turn, block in enumerate([0, 1, 2, 3] * 3):
        value = 100 if block in packed.kept else turn
        held = upload.holds(block)
        assert held == (block in packed.kept and turn >= 4)
        if not held:
            fill(targets_of(upload, block), packed, block, value)
        moved = upload.send(block)
        assert moved[:2] == (0 if held else packed.upload_nbytes(block), 64 * 64 * 4 + 9 * 4)
        check(arena, packed, block, value)


def test_threads_that_send_packed_blocks_at_once_dont_disturb_each_other(packed):
    arena = Arena(packed.arena_nbytes, CPU)
    upload = staged(packed, arena, buffers=2)
    a, b = next((i, j) for i in range(4) for j in range(4) if i != j and j not in packed.overlapping[i])

    def send(block: int) -> None:
        for turn in range(50):
            if not upload.holds(block):
                fill(targets_of(upload, block), packed, block, block if block in packed.kept else turn)
            upload.send(block)
            check(arena, packed, block, block if block in packed.kept else turn)

    (first, done), (second, also_done) = (in_thread(lambda block=block: send(block)) for block in (a, b))
    for thread in (first, second):
        thread.join(60)
    assert len(done) == len(also_done) == 1


def test_every_buffer_comes_round_again_for_as_long_as_one_likes(plan, arena):
    upload = staged(plan, arena, buffers=2)
    for turn in range(20):
        block = turn % 3
        targets_of(upload, block)[0].fill_(turn)
        upload.send(block)
        assert arena.views(plan, block, torch.float32)[0].unique().tolist() == [turn]
