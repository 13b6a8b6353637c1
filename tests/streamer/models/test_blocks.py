"""How a module tree is cut into blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamer.models.blocks import LARGE_LEAF, find_blocks


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(3))
        self.small = nn.Linear(2, 2)
        self.large = nn.Linear(LARGE_LEAF // 512, 512)
        self.pairs = nn.ModuleList([Pair(), Pair()])


def test_blocks_are_the_named_kinds_and_large_layers_and_the_rest_is_pinned():
    blocks = find_blocks(Model(), ["Pair"], lambda name: name.endswith("1"))
    assert [(block.name, block.pinned, block.runway) for block in blocks] == [
        ("rest", True, False),
        ("large", False, False),
        ("pairs.0", False, False),
        ("pairs.1", False, True),
    ]
    assert [place.key for place in blocks[0].places] == ["own", "small.weight", "small.bias"]
    assert [place.key for place in blocks[2].places] == [
        f"pairs.0.{name}.{kind}" for name in ("one", "two") for kind in ("weight", "bias")
    ]


def test_every_parameter_is_in_exactly_one_block():
    model = Model()
    keys = [place.key for block in find_blocks(model, ["Pair"]) for place in block.places]
    assert sorted(keys) == sorted(name for name, _ in model.named_parameters())


def test_tied_weights_are_refused():
    model = Model()
    model.pairs[1].two.weight = model.pairs[0].one.weight
    with pytest.raises(ValueError, match=r"pairs\.1\.two\.weight is shared"):
        find_blocks(model, ["Pair"])


def test_a_layer_with_most_weights_itself_is_one_block_with_what_it_reads_below():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(512, 8), "small": nn.MultiheadAttention(8, 2)})
    rest, attention = find_blocks(model, [])
    assert (attention.name, attention.module) == ("attention", model["attention"])
    assert {place.key for place in attention.places} == {
        f"attention.{name}" for name, _ in model["attention"].named_parameters()
    }
    assert {place.key.split(".")[0] for place in rest.places} == {"small"}


def test_a_large_parameter_of_a_module_with_more_below_it_stays_and_the_others_are_blocks():
    model = nn.Sequential(nn.Linear(512, LARGE_LEAF // 512), nn.Linear(512, LARGE_LEAF // 512))
    model.table = nn.Parameter(torch.zeros(LARGE_LEAF))
    blocks = find_blocks(nn.ModuleDict({"stage": model}), [])
    assert [(block.name, len(block.places)) for block in blocks] == [("rest", 1), ("stage.0", 2), ("stage.1", 2)]
