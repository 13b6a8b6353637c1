"""Bytes of what doesn't stream: always those that adding up everything anew would give."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from streamer.runtime.in_memory import InMemory
from tests.streamer.tower import Tower


def added_up(tower: Tower, streamed: set[nn.Parameter]) -> int:
    return sum(p.nbytes for p in (*tower.parameters(), *tower.buffers()) if p not in streamed)


def watched(tower: Tower) -> tuple[InMemory, set[nn.Parameter]]:
    return InMemory(tower, tower.blocks()), set(tower.parameters())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(1, 8)), max_size=8))
def test_whatever_is_put_in_and_taken_out_the_count_is_right(changes):
    tower = Tower()
    in_memory, streamed = watched(tower)
    assert in_memory.nbytes == 0
    for kind, layer, size in changes:
        owner = tower.layers[layer]
        if kind == "a":
            owner.adapter = nn.Sequential(nn.Linear(size, size), nn.ReLU())
        elif kind == "b" and hasattr(owner, "adapter"):
            del owner.adapter
        elif kind == "c":
            owner.register_buffer("extra", torch.zeros(size))
        assert in_memory.nbytes == added_up(tower, streamed)


def test_parameters_and_deeper_modules_are_seen():
    tower = Tower()
    in_memory, _ = watched(tower)
    tower.layers[0].adapter = nn.ModuleDict({"one": nn.Linear(2, 3, bias=False)})
    assert in_memory.nbytes == 24
    tower.layers[0].adapter["two"] = nn.Linear(2, 2, bias=False)
    assert in_memory.nbytes == 40
    del tower.layers[0].adapter["one"]
    assert in_memory.nbytes == 16
    tower.extra = nn.Parameter(torch.zeros(5, dtype=torch.float16))
    assert in_memory.nbytes == 26
    tower.shared = tower.layers[0].adapter
    assert in_memory.nbytes == 26  # once


def test_without_a_change_nothing_is_counted(monkeypatch):
    tower = Tower()
    in_memory, _ = watched(tower)
    assert in_memory.nbytes == 0
    monkeypatch.setattr(tower, "modules", lambda: pytest.fail("counted"))
    assert [in_memory.nbytes for _ in range(3)] == [0, 0, 0]


def test_the_revision_changes_with_what_is_there_and_with_nothing_else():
    tower = Tower()
    in_memory, _ = watched(tower)
    revisions = [in_memory.revision]
    nn.Sequential(nn.Linear(2, 2))
    assert in_memory.revision == revisions[0]
    tower.adapter = nn.Linear(2, 2)
    revisions.append(in_memory.revision)
    tower.other = nn.Linear(2, 2)
    revisions.append(in_memory.revision)
    del tower.other
    revisions.append(in_memory.revision)
    assert len(set(revisions)) == 4


def test_what_is_swapped_in_place_is_counted_when_told():
    tower = Tower()
    tower.adapter = nn.Linear(2, 2, bias=False)
    in_memory, _ = watched(tower)
    assert in_memory.nbytes == 16
    torch.utils.swap_tensors(tower.adapter.weight, nn.Parameter(torch.zeros(4, 2)))
    in_memory.changed()
    assert in_memory.nbytes == 32


def test_what_has_no_memory_takes_none():
    tower = Tower()
    tower.adapter = nn.Linear(2, 2, device="meta")
    assert watched(tower)[0].nbytes == 0


def test_it_is_brought_to_the_type_and_streamed_weights_are_left_alone():
    tower = Tower()
    tower.adapter = nn.Linear(2, 2)
    tower.adapter.weight.requires_grad_(False)
    tower.register_buffer("count", torch.zeros(3, dtype=torch.int64))
    in_memory, streamed = watched(tower)
    in_memory.move(torch.device("cpu"), torch.float16)
    assert {p.dtype for p in tower.adapter.parameters()} == {torch.float16}
    assert (tower.adapter.weight.requires_grad, tower.adapter.bias.requires_grad) == (False, True)
    assert {p.dtype for p in streamed} == {torch.float32}
    assert in_memory.nbytes == (4 + 2) * 2 + 3 * 8


def test_what_cannot_be_brought_leaves_the_rest_where_it_was(monkeypatch):
    tower = Tower()
    tower.adapter = nn.Linear(3, 5)
    tower.adapter.register_buffer("seen", torch.ones(2))
    counts, _ = watched(tower)
    before = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}

    def refused(*_: object) -> None:
        raise torch.OutOfMemoryError

    tower.adapter.seen.to = refused
    with pytest.raises(torch.OutOfMemoryError):
        counts.move(torch.device("cpu"), torch.float16)
    after = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}
    assert all(after[name] is tensor for name, tensor in before.items())


def test_streamed_parameters_are_known_by_module_and_by_name():
    tower = Tower()
    in_memory, _ = watched(tower)
    names = {name for name, _ in tower.named_parameters()}
    tower.adapter = nn.Linear(2, 2)
    assert {".".join(filter(None, (name, attribute))) for name, _, attribute in in_memory.streamed()} == names
    assert in_memory.streams(tower.layers[0], "weight")
    assert not in_memory.streams(tower.adapter, "weight")


def test_closed_or_forgotten_nothing_is_left_of_it():
    gc.collect()
    hooks = nn.modules.module._global_module_registration_hooks
    before = len(hooks)
    tower = Tower()
    in_memory, _ = watched(tower)
    assert len(hooks) == before + 1
    there = weakref.ref(in_memory)
    del in_memory
    gc.collect()
    assert there() is None
    assert len(hooks) == before
    in_memory, _ = watched(tower)
    in_memory.close()
    assert len(hooks) == before
