"""Adapter files are read whole, or named with what is wrong; pickles aren't opened."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from streamer.errors import WeightsFileError
from streamer.models.adapter_file import read_adapter, require_no_pickle


def test_all_tensors_in_their_types_and_the_digest_of_the_bytes(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3).half(), "alpha": torch.tensor(4.0)}
    save_file(tensors, path)
    read = read_adapter(path)
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {key: tensor.dtype for key, tensor in read.tensors.items()} == {"a": torch.float16, "alpha": torch.float32}
    assert all(torch.equal(read.tensors[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.PTH", "a.ckpt", "a.pkl"])
def test_a_pickle_isnt_opened_even_if_it_is_there(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for refuse in (require_no_pickle, read_adapter):
        with pytest.raises(WeightsFileError, match="pickle"):
            refuse(tmp_path / name)
    require_no_pickle(tmp_path / "a.safetensors")


def test_what_is_no_file_of_tensors_is_named(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    save_file({"a": torch.ones(2, dtype=torch.int32)}, tmp_path / "whole.safetensors")
    for path in (tmp_path, tmp_path / "none.safetensors", tmp_path / "cut.safetensors", tmp_path / "whole.safetensors"):
        with pytest.raises(WeightsFileError, match=path.name):
            read_adapter(path)


def test_whatever_the_default_device_is_tensors_are_host_memory(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with torch.device("meta"):
        read = read_adapter(tmp_path / "a.safetensors")
    assert read.tensors["a"].tolist() == [1, 1]
