"""Packed blocks within the slab, expanded into their slots."""

from __future__ import annotations

import pytest
import torch

from streamer.plan import Plan, lay_out, make_plan
from streamer.plan.packed import InflatedSizes
from streamer.sources.inflated import InflatedSections
from streamer.tiers.arena import Arena
from streamer.tiers.unpack import Unpacker

MOST = InflatedSizes(64, 64, 8, 8, 4)


@pytest.fixture
def plan() -> Plan:
    blocks = [lay_out(f"b{i}", [("m", (64, 64)), ("v", (9,))], 4, inflated=[MOST, None]) for i in range(4)]
    form = blocks[0].packed
    plan = make_plan(blocks, range(4), 2 * blocks[0].nbytes + 2 * form.nbytes + 4608)
    assert (len(plan.kept), len(plan.packed)) == (1, 4)
    return plan


def arrive(memory: torch.Tensor, plan: Plan, sizes: InflatedSizes, value: float) -> None:
    places = plan.blocks[0].packed.places
    sections = InflatedSections.within(memory[places[0].offset :], sizes)
    sections.indices.fill_(0)
    sections.levels.view(torch.float16).fill_(value)
    sections.positions.copy_(torch.arange(sizes.overlay_count))
    sections.values.view(torch.float16).fill_(value + 1)
    end = places[1].offset + places[1].nbytes
    memory[places[1].offset : end].view(torch.float32).fill_(value + 2)


@pytest.mark.parametrize("found", [MOST, InflatedSizes(64, 64, 8, 8, 2), InflatedSizes(64, 64, 8, 7, 3)])
def test_a_block_is_expanded_from_where_it_arrived_whatever_sizes_were_found(plan, found):
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    unpacker = Unpacker(plan, arena, torch.float32)
    for block in range(4):
        arrive(unpacker.arrival(block), plan, found, block)
        unpacker.unpack(block, [found, None])
        matrix, vector = arena.views(plan, block, torch.float32)
        want = torch.full((64 * 64,), float(block))
        want[: found.overlay_count] = block + 1
        assert torch.equal(matrix.view(-1), want)
        assert vector.unique().tolist() == [block + 2]


def test_only_a_block_that_is_kept_is_held_and_comes_again_without_arriving(plan):
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    unpacker = Unpacker(plan, arena, torch.float32)
    (kept,) = plan.kept
    assert not any(unpacker.holds(block) for block in range(4))
    for block in [kept, *(set(range(4)) - {kept})]:
        arrive(unpacker.arrival(block), plan, MOST, block)
        unpacker.unpack(block, [MOST, None])
    assert [unpacker.holds(block) for block in range(4)] == [block == kept for block in range(4)]
    arena.slot(plan, kept).fill_(0)
    unpacker.unpack(kept, [])
    assert arena.views(plan, kept, torch.float32)[0].view(-1)[4:].unique().tolist() == [kept]


def test_what_arrives_lies_in_no_slot(plan):
    arena = Arena(plan.arena_nbytes, torch.device("cpu"))
    unpacker = Unpacker(plan, arena, torch.float32)
    for block in range(4):
        arena.slot(plan, block).fill_(1)
    for block in range(4):
        assert unpacker.arrival(block).numel() == plan.blocks[block].packed.nbytes
        unpacker.arrival(block).fill_(0)
    assert all(arena.slot(plan, block).all() for block in range(4))
