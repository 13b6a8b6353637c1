"""The slab and the views of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.plan import Plan, Slot, lay_out, make_plan, smallest_budget
from streamer.plan.alignment import ALIGNMENT
from streamer.tiers.arena import Arena, tensor_views

CPU = torch.device("cpu")
shapes = st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), min_size=1, max_size=4)


def plan_of(blocks_of_shapes: list[list[tuple[int, ...]]], itemsize: int, budget: int | None = None) -> Plan:
    blocks = [
        lay_out(f"b{i}", [(f"b{i}.{t}", shape) for t, shape in enumerate(each)], itemsize)
        for i, each in enumerate(blocks_of_shapes)
    ]
    return make_plan(blocks, range(len(blocks)), smallest_budget(blocks) if budget is None else budget)


@given(st.lists(shapes, min_size=1, max_size=5), st.sampled_from([torch.float16, torch.float32]), st.data())
def test_every_weight_lies_in_the_slab_aligned_as_an_allocator_would(given_shapes, dtype, data):
    total = sum(b.nbytes for b in plan_of(given_shapes, dtype.itemsize).blocks)
    smallest = smallest_budget(plan_of(given_shapes, dtype.itemsize).blocks)
    plan = plan_of(given_shapes, dtype.itemsize, data.draw(st.integers(smallest, total + 1000)))
    arena = Arena(plan.arena_nbytes, CPU)
    for i, each in enumerate(given_shapes):
        slot = arena.slot(plan, i)
        views = arena.views(plan, i, dtype)
        assert slot.nbytes == plan.blocks[i].nbytes
        assert [tuple(view.shape) for view in views] == each
        assert all(view.dtype == dtype and view.is_contiguous() for view in views)
        for view in views:
            assert view.data_ptr() % ALIGNMENT == 0 or not view.numel()
            assert slot.data_ptr() <= view.data_ptr() or not view.numel()
            assert view.data_ptr() + view.nbytes <= slot.data_ptr() + slot.nbytes or not view.numel()


def test_views_of_what_stays_are_all_different_memory():
    plan = plan_of([[(3, 4), (5,)], [(7,)], [(2, 2), ()]], 4, budget=1 << 20)
    arena = Arena(plan.arena_nbytes, CPU)
    views = [view for i in range(3) for view in arena.views(plan, i, torch.float32)]
    for number, view in enumerate(views):
        view.fill_(number)
    assert [set(view.flatten().tolist()) for view in views] == [{number} for number in range(5)]


def test_views_of_one_slot_are_the_same_memory_each_time():
    plan = plan_of([[(4,)]], 4)
    arena = Arena(plan.arena_nbytes, CPU)
    arena.views(plan, 0, torch.float32)[0].fill_(3)
    assert arena.views(plan, 0, torch.float32)[0].tolist() == [3, 3, 3, 3]
    assert arena.slot(plan, 0)[:16].view(torch.float32).tolist() == [3, 3, 3, 3]


def test_blocks_that_share_a_slot_share_bytes():
    plan = plan_of([[(4,)], [(4,)]], 4)
    arena = Arena(plan.arena_nbytes, CPU)
    arena.slot(plan, 0).fill_(1)
    assert plan.overlapping[0] == (1,)
    assert arena.slot(plan, 1).tolist() == [1] * 512


def test_a_slot_outside_the_slab_is_refused():
    plan = plan_of([[(1000,)]], 4)
    with pytest.raises(ValueError, match="not within an arena of 512 bytes"):
        Arena(512, CPU).views(plan, 0, torch.float32)


def test_a_closed_arena_gives_nothing_more():
    plan = plan_of([[(4,)]], 4)
    arena = Arena(plan.arena_nbytes, CPU)
    arena.close()
    with pytest.raises(ValueError, match="arena"):
        arena.views(plan, 0, torch.float32)
    with pytest.raises(ValueError, match="closed"):
        arena.slot(plan, 0)


def test_staging_memory_is_cut_up_as_the_slot_is():
    plan = plan_of([[(2, 3), (), (0, 4), (5,)]], 2)
    memory = torch.zeros(plan.blocks[0].nbytes + 512, dtype=torch.uint8)
    views = tensor_views(memory, plan, 0, torch.float16)
    assert [tuple(view.shape) for view in views] == [(2, 3), (), (0, 4), (5,)]
    views[3].fill_(1)
    offset = plan.blocks[0].tensors[3].offset
    assert memory[offset : offset + 10].view(torch.float16).tolist() == [1] * 5
    assert int(memory.count_nonzero()) == 5  # 1.0 is 0x3c00


def test_a_part_is_a_range_of_the_slab_and_nothing_beyond():
    arena = Arena(1024, CPU)
    arena.part(Slot(0, 1024)).fill_(0)
    arena.part(Slot(512, 512)).fill_(1)
    assert arena.part(Slot(0, 1024)).tolist() == [0] * 512 + [1] * 512
    with pytest.raises(ValueError, match="not within"):
        arena.part(Slot(512, 513))
