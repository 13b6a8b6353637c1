"""Host cache and spill file, put together over a source."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streamer.config import StreamSettings
from streamer.plan import make_plan
from streamer.runtime.attach import as_planned
from streamer.runtime.host_tiers import HostTiers
from tests.streamer.runtime.files import open_tower, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, MemorySource, Tower


def plan_of(tower: Tower, nbytes: int):
    blocks = as_planned(tower.blocks(), torch.float32)
    return make_plan(blocks, range(1, len(blocks)), nbytes)


def test_what_streams_is_kept_as_far_as_there_is_room_and_let_go_of_at_the_end():
    tower = Tower()
    source = MemorySource(tower.state_dict())
    seen: list[int] = []
    tiers = HostTiers(source, StreamSettings(ram_budget_nbytes=1 << 20), lambda start, end, nbytes: seen.append(nbytes))
    tiers.install(plan_of(tower, 512 + LAYER_NBYTES))
    for _ in range(2):
        tiers.source.read_into("layers.0.weight", torch.empty(16, 16))
    assert source.reads == ["layers.0.weight"]
    assert seen == [tiers.held_nbytes] == [16 * 16 * 4]
    assert tiers.spill_path is None
    tiers.close()
    assert tiers.held_nbytes == 0


def test_what_is_read_again_goes_through_the_spill_file_where_there_is_a_folder(tmp_path: Path):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    source = open_tower(path)
    tiers = HostTiers(source, StreamSettings(spill_dir=tmp_path / "spill"), lambda *_: None)
    tiers.install(plan_of(tower, 512 + LAYER_NBYTES))
    out = torch.empty(16, 16)
    for _ in range(2):
        tiers.source.read_into("layers.0.weight", out)
        assert torch.equal(out, tower.layers[0].weight)
    assert tiers.spill_path is not None
    assert tiers.spill_path.is_file()
    tiers.close()
    source.close()


@pytest.mark.parametrize(
    ("ram", "page_cache", "in_memory"),
    [(0, 0, False), (0, 1 << 20, True), (1 << 20, 0, True), (LAYER_NBYTES, 0, False)],
)
def test_whether_a_step_needs_the_storage_again_is_known(ram: int, page_cache: int, in_memory: bool):
    tower = Tower()
    settings = StreamSettings(ram_budget_nbytes=ram, page_cache_nbytes=page_cache)
    tiers = HostTiers(MemorySource(tower.state_dict()), settings, lambda *_: None)
    tiers.install(plan_of(tower, 512 + LAYER_NBYTES))
    assert tiers.in_memory is in_memory
    tiers.close()


def test_a_cache_that_cannot_be_closed_keeps_no_spill_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    tiers = HostTiers(open_tower(path), StreamSettings(spill_dir=tmp_path / "spill"), lambda *_: None)
    tiers.install(plan_of(tower, 512 + LAYER_NBYTES))
    assert tiers.spill_path is not None

    def fail() -> None:
        raise OSError("gone")

    monkeypatch.setattr(tiers._cache, "close", fail)
    with pytest.raises(OSError, match="gone"):
        tiers.close()
    assert tiers.spill_path is None
