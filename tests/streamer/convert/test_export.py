"""From a source to safetensors: whole files, and progress that adds up."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from streamer.convert.export import export, selected_nbytes
from streamer.errors import SettingError
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


def test_a_fault_between_shards_leaves_whole_files_and_no_index(tmp_path):
    weights = source()
    weights.fails["t3"] = OSError(5, "the disk went away")
    with pytest.raises(OSError, match="the disk went away"):
        export(weights, tmp_path / "w.safetensors", shard_nbytes=12)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"w-0000{i}-of-00003.safetensors" for i in (1, 2)]


def test_patterns_that_fit_nothing_are_errors(tmp_path):
    with pytest.raises(SettingError, match=r"'x\*'"):
        export(source(), tmp_path / "w.safetensors", keys=["t1", "x*"])
    assert selected_nbytes(source(), ["t1", "t2"]) == 2 * 3 * 3
    assert list(tmp_path.iterdir()) == []
