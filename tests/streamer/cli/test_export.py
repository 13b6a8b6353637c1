"""`streamer export`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import lzr2


@pytest.fixture
def tensors(tmp_path):
    random = np.random.default_rng(0)
    made = {f"{part}.{i}": random.standard_normal((16, 64)).astype(np.float16) for part in "ab" for i in range(3)}
    lzr2.save_file(made, tmp_path / "w.lzr2")
    return made


def test_bit_for_bit_in_one_file(streamer, tensors, tmp_path):
    done = streamer("export", "w.lzr2", "w.safetensors")
    assert done.code == 0, done.err
    assert done.out == f"w.safetensors: {(tmp_path / 'w.safetensors').stat().st_size:,} bytes\n"
    read = load_file(tmp_path / "w.safetensors")
    assert read.keys() == tensors.keys()
    assert all(np.array_equal(read[key].view(np.uint16), tensors[key].view(np.uint16)) for key in tensors)


def test_in_shards_with_an_index_as_the_hub_has_them(streamer, tensors, tmp_path):
    done = streamer("export", "w.lzr2", "m.safetensors", "--shard-size", "5KB")
    assert done.code == 0, done.err
    table = json.loads((tmp_path / "m.safetensors.index.json").read_text())
    assert table["metadata"]["total_size"] == 6 * 2048
    assert set(table["weight_map"].values()) == {f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
    for key, name in table["weight_map"].items():
        assert np.array_equal(load_file(tmp_path / name)[key], tensors[key])
    assert len(done.out.splitlines()) == 4


def test_a_part_of_the_keys(streamer, tensors, tmp_path):
    assert streamer("export", "w.lzr2", "w.safetensors", "-k", "a.*", "-k", "b.1").code == 0
    assert set(load_file(tmp_path / "w.safetensors")) == {"a.0", "a.1", "a.2", "b.1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("w.lzr2", "w.safetensors", "-k", "a.*", "-k", "c.*"), "'c.*'"),
        (("w.lzr2", "w.lzr2"), "written over"),
        (("w.lzr2", "w.safetensors", "--shard-size", "big"), "not a size"),
        (("none", "w.safetensors"), "no such file"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(streamer, tensors, tmp_path, arguments, words):
    done = streamer("export", *arguments)
    assert done.code == 2
    assert words in done.err
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_damaged_file_leaves_nothing(streamer, tensors, tmp_path):
    content = bytearray((tmp_path / "w.lzr2").read_bytes())
    record = lzr2.Index.build(tmp_path / "w.lzr2").records[2]
    content[record.indices_start + 2] ^= 0xFF
    (tmp_path / "w.lzr2").write_bytes(content)
    done = streamer("export", "w.lzr2", "w.safetensors")
    assert done.code == 2
    assert record.key in done.err
    assert not [path.name for path in tmp_path.iterdir() if "safetensors" in path.name]


def test_a_key_that_safetensors_keeps_for_itself_is_an_error(streamer, tensors, tmp_path):
    lzr2.save_file({**tensors, "__metadata__": tensors["a.0"]}, tmp_path / "w.lzr2")
    done = streamer("export", "w.lzr2", "w.safetensors")
    assert done.code == 2
    assert "__metadata__" in done.err
    assert not list(tmp_path.glob("*.safetensors"))
    assert streamer("export", "w.lzr2", "w.safetensors", "-k", "[ab].*").code == 0
    assert load_file(tmp_path / "w.safetensors").keys() == tensors.keys()


def test_a_smaller_export_leaves_none_of_the_larger_ones_files(streamer, tensors, tmp_path):
    assert streamer("export", "w.lzr2", "m.safetensors", "--shard-size", "5KB").code == 0
    assert streamer("export", "w.lzr2", "m.safetensors", "--shard-size", "10KB").code == 0
    assert sorted(path.name for path in tmp_path.glob("m*")) == [
        "m-00001-of-00002.safetensors",
        "m-00002-of-00002.safetensors",
        "m.safetensors.index.json",
    ]
    assert streamer("export", "w.lzr2", "m.safetensors").code == 0
    assert [path.name for path in tmp_path.glob("m*")] == ["m.safetensors"]
