"""Of the sets of weights in a folder one is chosen."""

from __future__ import annotations

import pytest

from streamer.errors import WeightsFileError
from streamer.models.weight_files import diffusers_files, files_of_folder

STEM = "diffusion_pytorch_model"


def made(folder, *names):
    for name in names:
        (folder / name).touch()
    return folder


def names(paths):
    return [path.name for path in paths]


def test_the_plain_set_comes_before_the_one_in_half_precision(tmp_path):
    made(tmp_path, f"{STEM}.fp16.safetensors", f"{STEM}.safetensors")
    assert names(diffusers_files(tmp_path)) == names(files_of_folder(tmp_path)) == [f"{STEM}.safetensors"]


def test_shards_come_in_order_and_without_another_sets(tmp_path):
    shards = [f"{STEM}-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    made(tmp_path, *reversed(shards), f"{STEM}.fp16-00001-of-00001.safetensors", "other.safetensors")
    assert names(diffusers_files(tmp_path)) == names(files_of_folder(tmp_path)) == shards


def test_another_part_has_another_stem(tmp_path):
    made(tmp_path, "model.fp16.safetensors")
    assert names(diffusers_files(tmp_path, "model")) == ["model.fp16.safetensors"]
    assert diffusers_files(tmp_path) == ()


def test_files_of_other_names_are_taken_together(tmp_path):
    made(tmp_path, "b.safetensors", "a.safetensors", "c.json")
    assert names(files_of_folder(tmp_path)) == ["a.safetensors", "b.safetensors"]


def test_a_folder_without_any_is_an_error(tmp_path):
    made(tmp_path, "weights.bin")
    with pytest.raises(WeightsFileError, match="a directory without safetensors files"):
        files_of_folder(tmp_path)
