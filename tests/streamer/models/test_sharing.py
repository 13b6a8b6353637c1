"""What a module says to the budget that it shares."""

from __future__ import annotations

import pytest
import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import PartBudgetError
from streamer.models import sharing as sharing_module
from streamer.models.sharing import Sharing
from streamer.runtime.attach import attach
from streamer.runtime.share import SharedBudget
from tests.streamer.tower import MemorySource, Tower

CPU = torch.device("cpu")


def joined(tower: Tower, share: SharedBudget, name: str = "the tower", *, on_processor: bool = False):
    sharing = Sharing(tower, name, share, None, lambda: None, on_processor=on_processor)
    settings, order = StreamSettings(UNLIMITED, 0, 1), range(1, 7)
    source = MemorySource(tower.state_dict())
    handle = attach(
        tower, tower.blocks(), order, source, settings, CPU, torch.float32, asleep=True, on_forward=sharing.on_forward
    )
    sharing.join(handle, tower)
    return sharing, handle


def test_before_each_forward_room_is_made_for_its_activations():
    tower, share = Tower(), SharedBudget(8000)
    sharing, handle = joined(tower, share)
    for rows in (1, 16):
        x = torch.ones(rows, 16)
        tower(x)
        needed = sharing.activations((x,), {})
        assert handle.budget_nbytes == 8000 - needed
        assert needed >= 2 * x.nbytes
    with handle, pytest.raises(PartBudgetError, match="the tower"):
        tower(torch.ones(100, 16))


def test_two_of_the_same_name_are_told_apart_and_give_way_to_each_other():
    share, towers = SharedBudget(11_000), [Tower(), Tower()]
    members = [joined(tower, share) for tower in towers]
    assert [sharing.name for sharing, _ in members] == ["the tower", "the tower (2)"]
    for _ in range(2):
        for tower, (_, handle) in zip(towers, members, strict=True):
            tower(torch.ones(1, 16))
            assert handle.device_nbytes == handle.total_nbytes
            assert sum(each.device_nbytes for _, each in members) <= 11_000
    for _, handle in members:
        handle.close()


@pytest.mark.parametrize("on_processor", [True, False])
def test_on_a_processor_freed_memory_is_given_back_when_another_takes_its_turn(monkeypatch, on_processor):
    given: list[list[int]] = []
    share, towers = SharedBudget(11_000), [Tower(), Tower()]
    members = [joined(tower, share, on_processor=on_processor) for tower in towers]
    still_there = lambda: [handle.device_nbytes for _, handle in members]  # noqa: E731
    monkeypatch.setattr(sharing_module, "give_back", lambda: given.append(still_there()))
    seen = []
    for tower, rows in ((towers[0], 1), (towers[1], 2), (towers[1], 2), (towers[1], 1), (towers[0], 1)):
        tower(torch.ones(rows, 16))
        seen.append(len(given))
    assert seen == ([1, 2, 2, 3, 4] if on_processor else [0] * 5)  # also before smaller results than the last ones'
    if on_processor:
        assert given[1][0] == given[3][1] == 0  # after who ran before has made room
    for _, handle in members:
        handle.close()


def test_activations_that_cannot_be_calculated_are_told_of_by_the_name_in_the_budget():
    tower = Tower()
    _, handle = joined(tower, SharedBudget(8000), "the tall tower")
    with handle, pytest.warns(UserWarning, match="What the tall tower needs"), pytest.raises(RuntimeError):
        tower(torch.ones(1, 17))
