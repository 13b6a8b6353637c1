"""Which files a runtime needs, and the directory that diffusers loads them from."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save_file

import lzr2
from benchmarks.compare.model_files import CONFIGS, ModelFiles, count_weights
from benchmarks.compare.runtimes import GAUSSIAN, Runtime
from tests.benchmarks.compare.made_up import OURS, PEER


def test_what_is_missing_is_named(tmp_path):
    files = ModelFiles(CONFIGS["demo"], tmp_path, tmp_path / "models")
    overlay = Runtime("ours", "this project", "streamed", weights=GAUSSIAN, container=".lzr2")
    assert files.missing(PEER) == ["lattice.safetensors"]
    assert files.missing(OURS) == ["lattice.lzr2"]
    assert files.missing(overlay) == ["gaussian.lzr2"]
    (tmp_path / "lattice.lzr2").touch()
    assert files.missing(OURS) == []
    assert files.weights(OURS) == tmp_path / "lattice.lzr2"


def test_weights_are_counted_in_either_kind_of_file(tmp_path):
    tensors = {"a": np.ones((64, 3), np.float16), "b": np.ones(5, np.float16)}
    lzr2.save_file(tensors, tmp_path / "w.lzr2")
    save_file(tensors, tmp_path / "w.safetensors")
    assert count_weights(tmp_path / "w.lzr2") == count_weights(tmp_path / "w.safetensors") == 64 * 3 + 5


def test_the_directory_links_to_the_weights(tmp_path):
    (tmp_path / "lattice.safetensors").write_bytes(b"weights")
    files = ModelFiles(CONFIGS["demo"], tmp_path, tmp_path / "models")
    for _ in range(2):
        directory = files.model(PEER)
        assert (directory / "diffusion_pytorch_model.safetensors").read_bytes() == b"weights"
        assert (directory / "config.json").read_bytes() == CONFIGS["demo"].read_bytes()
