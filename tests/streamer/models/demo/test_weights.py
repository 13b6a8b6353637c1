"""The demo's U-Net as LZR2: lossless, made once, made again when damaged."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

import lzr2
from streamer.models.demo import demo_weights


def test_every_bit_is_that_of_the_packaged_weights(demo_lzr2, demo_safetensors):
    want = load_file(demo_safetensors)
    have = lzr2.load_file(demo_lzr2)
    assert have.keys() == want.keys()
    for key, tensor in want.items():
        assert have[key].shape == tensor.shape
        assert np.array_equal(have[key].view(np.uint16), tensor.view(np.uint16))


def test_made_once(tmp_path):
    told: list[str] = []
    path = demo_weights(tmp_path / "new", told.append)
    made = path.stat().st_mtime_ns
    assert len(told) == 1
    assert str(path) in told[0]
    assert demo_weights(tmp_path / "new", told.append) == path
    assert path.stat().st_mtime_ns == made
    assert len(told) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_file_is_made_again(tmp_path, demo_lzr2, damage):
    path = tmp_path / demo_lzr2.name
    whole = demo_lzr2.read_bytes()
    path.write_bytes({"cut": whole[:-100], "empty": b"", "other": b"<html>"}[damage])
    told: list[str] = []
    assert demo_weights(tmp_path, told.append) == path
    assert len(told) == 1
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_replaced_by_the_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("streamer.models.demo.weights.user_cache_path", lambda name: tmp_path / "file" / name)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    assert demo_weights().parent == tmp_path / "temporary" / "lzr2-streamer"
