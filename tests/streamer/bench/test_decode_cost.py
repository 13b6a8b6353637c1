"""Seconds of each tensor, from blocks that were really decoded."""

from __future__ import annotations

import pytest
import torch

from streamer.bench.decode_cost import DecodeCost, measured_decode
from streamer.bench.simulate import LoadCost
from streamer.plan import lay_out, make_plan
from streamer.runtime.keeping import Keeping
from tests.streamer.tower import MemorySource

SHAPES = {f"b{i}.{name}": shape for i in range(6) for name, shape in (("weight", (64, 64)), ("bias", (64,)))}
BLOCKS = [lay_out(f"b{i}", [(key, SHAPES[key]) for key in (f"b{i}.weight", f"b{i}.bias")], 4) for i in range(6)]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({key: torch.rand(shape) for key, shape in SHAPES.items()})


@pytest.mark.parametrize("threads", [1, 3])
def test_every_tensor_has_a_cost_and_one_block_of_a_kind_is_read(source, threads):
    cost = measured_decode(source, BLOCKS, torch.float32, holds=False, threads=threads, seconds=0.05)
    assert set(cost.read) == set(SHAPES)
    assert all(seconds > 0 for seconds in cost.read.values())
    assert cost.held == {}
    assert cost.stored_nbytes == {key: tensor.nbytes for key, tensor in source.tensors.items()}
    assert {key.split(".")[0] for key in source.reads} == {"b3"}


def test_like_tensors_cost_the_same_and_larger_ones_more(source):
    cost = measured_decode(source, BLOCKS, torch.float32, holds=True, threads=1, seconds=0.05)
    for table in (cost.read, cost.held):
        assert len({table[key] for key in SHAPES if key.endswith("weight")}) == 1
        assert table["b0.weight"] > table["b0.bias"]


def test_blocks_of_other_shapes_are_measured_too():
    shapes = {"a": (300, 300), "b": (64,)}
    source = MemorySource({key: torch.rand(shape) for key, shape in shapes.items()})
    blocks = [lay_out(key, [(key, shape)], 4) for key, shape in shapes.items()]
    blocks.append(lay_out("empty", [], 4))
    cost = measured_decode(source, blocks, torch.float32, holds=False, threads=1, seconds=0.05)
    assert set(source.reads) == {"a", "b"}
    assert set(cost.read) == {"a", "b"}


def test_what_is_kept_is_read_once_and_only_what_is_dropped_comes_from_the_disk_again():
    keys = list(SHAPES)
    cost = DecodeCost(dict.fromkeys(keys, 2.0), dict.fromkeys(keys, 0.5), dict.fromkeys(keys, 100))
    plan = make_plan(BLOCKS, range(6), sum(block.nbytes for block in BLOCKS))
    keeping = Keeping(kept=frozenset({"b0.weight"}), dropped=frozenset({"b0.weight", "b1.weight"}))
    first, later = cost.first_loads(plan, keeping), cost.later_loads(plan, keeping)
    assert (first[0][0], later[0][0]) == (LoadCost(2.5, 100), LoadCost(0.5, 0))
    assert (first[1][0], later[1][0]) == (LoadCost(2.0, 100), LoadCost(2.0, 100))
    assert (first[2][0], later[2][0]) == (LoadCost(2.0, 100), LoadCost(2.0, 0))
