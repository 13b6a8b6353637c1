"""From a source to safetensors: whole files, and progress that adds up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lzr2.errors import IoFailedError
from lzr2.temporary import Draft
from streamer.convert.export import export, selected_nbytes
from streamer.errors import SettingError, WeightsFileError
from tests.streamer.tower import MemorySource


def source() -> MemorySource:
    return MemorySource({f"t{i}": torch.full((3, i), float(i)) for i in range(4)})


def test_every_value_as_float16_and_progress_that_adds_up(tmp_path):
    told: list[int] = []
    weights = source()
    written = export(weights, tmp_path / "w.safetensors", on_bytes=told.append)
    assert written == [tmp_path / "w.safetensors"]
    assert sum(told) == selected_nbytes(weights) == 2 * 3 * 6
    read = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(read[key], weights.tensors[key].half()) for key in weights.keys())


def test_a_fault_between_shards_leaves_nothing(tmp_path):
    weights = source()
    weights.fails["t3"] = OSError(5, "the disk went away")
    with pytest.raises(OSError, match="the disk went away"):
        export(weights, tmp_path / "w.safetensors", shard_nbytes=12)
    assert list(tmp_path.iterdir()) == []


def filled(value: float, count: int = 4) -> MemorySource:
    return MemorySource({f"t{i}": torch.full((6,), value) for i in range(count)})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_interrupted_over_an_earlier_export_it_leaves_that_one_as_it_was(tmp_path):
    output = tmp_path / "w.safetensors"
    assert len(export(filled(1.0), output, shard_nbytes=12)) == 5
    before = contents(tmp_path)
    again = filled(2.0)
    again.fails["t2"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        export(again, output, shard_nbytes=12)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("step", range(5))
def test_ended_while_the_files_take_their_places_no_index_names_them_and_old_and_new_are_never_mixed(
    tmp_path, monkeypatch, step
):
    output = tmp_path / "w.safetensors"
    export(filled(1.0), output, shard_nbytes=12)
    left = [step]
    real = Draft.put_in_place

    def ended(self: Draft) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(self)

    monkeypatch.setattr(Draft, "put_in_place", ended)
    with pytest.raises(KeyboardInterrupt):
        export(filled(2.0), output, shard_nbytes=12)
    there = sorted(tmp_path.iterdir())
    assert [path.name for path in there] == [f"w-{i + 1:05}-of-00004.safetensors" for i in range(step)]
    assert all(value == 2.0 for path in there for tensor in load_file(path).values() for value in tensor.tolist())


@pytest.mark.parametrize(("first", "then"), [(12, 24), (24, 12), (12, 1000), (1000, 12)])
def test_nothing_of_an_earlier_export_is_left_beside_the_new_one(tmp_path, first, then):
    output = tmp_path / "w.safetensors"
    export(filled(1.0), output, shard_nbytes=first)
    (tmp_path / "w-other.safetensors").write_text("of somebody else")
    written = export(filled(2.0), output, shard_nbytes=then)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written} | {"w-other.safetensors"}
    for path in written:
        if path.suffix == ".safetensors":
            assert all(tensor.eq(2.0).all() for tensor in load_file(path).values())


def test_every_file_and_the_folder_are_synced_before_the_index_is_there(tmp_path, monkeypatch):
    synced: list[str] = []
    real = os.fsync

    def note(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", note)
    output = tmp_path / "w.safetensors"
    export(filled(1.0), output, shard_nbytes=12)
    files = [Path(name).name.split(".")[1] for name in synced if name.endswith(".tmp")]
    assert files == [f"w-{i + 1:05}-of-00004" for i in range(4)] + ["w"]
    assert synced[-1] == str(tmp_path)


def test_shards_of_other_weights_are_not_mixed_with_new_ones_nor_removed(tmp_path):
    (tmp_path / "w-00001-of-00009.safetensors").write_text("of somebody else")
    before = contents(tmp_path)
    with pytest.raises(SettingError, match=r"w-00001-of-00009\.safetensors is there"):
        export(filled(1.0), tmp_path / "w.safetensors", shard_nbytes=12)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": 5}', '{"weight_map": {"a": "../w-00001-of-00002.safetensors"}}']
)
def test_a_damaged_index_of_before_is_replaced_and_removes_nothing_elsewhere(tmp_path, text):
    outside = tmp_path / "w-00001-of-00002.safetensors"
    outside.write_text("outside")
    output = tmp_path / "folder" / "w.safetensors"
    output.parent.mkdir()
    (output.parent / "w.safetensors.index.json").write_text(text)
    export(filled(1.0), output, shard_nbytes=12)
    assert outside.read_text() == "outside"
    assert len(json.loads((output.parent / "w.safetensors.index.json").read_text())["weight_map"]) == 4


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "blob").write_text("old")
    (tmp_path / "w.safetensors").symlink_to(tmp_path / "far" / "blob")
    export(filled(1.0), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").is_symlink()
    assert load_file(tmp_path / "far" / "blob").keys() == {"t0", "t1", "t2", "t3"}
    (tmp_path / "s-00002-of-00004.safetensors").symlink_to(tmp_path / "far" / "blob")
    export(filled(2.0), tmp_path / "s.safetensors", shard_nbytes=12)
    assert (tmp_path / "s-00002-of-00004.safetensors").is_symlink()
    assert load_file(tmp_path / "far" / "blob").keys() == {"t1"}
    assert {path.name for path in (tmp_path / "far").iterdir()} == {"blob"}


def test_what_no_file_can_replace_is_refused_and_stays_even_where_shards_are_written(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(IoFailedError, match="a named pipe"):
        export(filled(1.0), tmp_path / "w.safetensors", shard_nbytes=12)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_key_that_safetensors_reserves_is_refused_before_anything_is_read(tmp_path):
    weights = MemorySource({"__metadata__": torch.ones(2), "a": torch.ones(2)})
    with pytest.raises(SettingError, match="keeps for itself"):
        export(weights, tmp_path / "w.safetensors")
    assert weights.reads == []
    assert list(tmp_path.iterdir()) == []
    assert export(weights, tmp_path / "w.safetensors", keys=["a"]) == [tmp_path / "w.safetensors"]


def test_without_weights_there_is_no_file(tmp_path):
    with pytest.raises(WeightsFileError, match="holds no weights"):
        export(MemorySource({}), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_bracket_in_a_key_can_be_named(tmp_path):
    weights = MemorySource({"a[0]": torch.ones(2), "a0": torch.ones(3)})
    export(weights, tmp_path / "w.safetensors", keys=["a[[]0]"])
    assert load_file(tmp_path / "w.safetensors").keys() == {"a[0]"}


def test_counters_are_left_out_and_scalars_are_not(tmp_path):
    told: list[str] = []
    weights = MemorySource({"a": torch.ones(2), "s": torch.tensor(0.5), "n": torch.arange(3)})
    export(weights, tmp_path / "w.safetensors", warn=told.append)
    assert {key: tuple(tensor.shape) for key, tensor in load_file(tmp_path / "w.safetensors").items()} == {
        "a": (2,),
        "s": (),
    }
    assert told == ["memory: n left out: whole numbers that count or order, no weights."]


def test_patterns_that_fit_nothing_are_errors(tmp_path):
    with pytest.raises(SettingError, match=r"'x\*'"):
        export(source(), tmp_path / "w.safetensors", keys=["t1", "x*"])
    assert selected_nbytes(source(), ["t1", "t2"]) == 2 * 3 * 3
    assert list(tmp_path.iterdir()) == []
