"""The synthetic U-Net: the same weights in both containers, sane, and of the announced kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import load_file

import lzr2
from streamer.models.demo import demo_directory

TOOL = Path(__file__).parents[2] / "tools" / "make_synthetic_sdxl.py"
SMALL = demo_directory() / "unet" / "config.json"


def make(path: Path, *arguments: str, config: Path = SMALL) -> str:
    done = subprocess.run(
        [sys.executable, str(TOOL), str(path), "--config", str(config), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic")
    for weights in ("lattice", "gaussian"):
        for kind in ("lzr2", "safetensors"):
            make(path / f"{weights}.{kind}", "--weights", weights)
    return path


@pytest.mark.parametrize("weights", ["lattice", "gaussian"])
def test_both_containers_hold_the_same_bits(folder, weights):
    want = load_file(folder / f"{weights}.safetensors")
    have = lzr2.load_file(folder / f"{weights}.lzr2")
    assert have.keys() == want.keys()
    for key, tensor in want.items():
        assert np.array_equal(have[key].view(np.uint16), tensor.view(np.uint16)), key


def test_a_lattice_is_small_and_normal_weights_fill_the_overlay(folder):
    count = sum(tensor.size for tensor in load_file(folder / "lattice.safetensors").values())
    assert (folder / "lattice.lzr2").stat().st_size / count < 0.5
    assert 7.5 < (folder / "gaussian.lzr2").stat().st_size / count < 8.6


@pytest.mark.parametrize("weights", ["lattice", "gaussian"])
def test_a_forward_is_finite_and_of_order_one(folder, weights):
    unet = UNet2DConditionModel.from_config(json.loads(SMALL.read_text())).eval()
    state = load_file(folder / f"{weights}.safetensors")
    unet.load_state_dict({key: torch.from_numpy(tensor).float() for key, tensor in state.items()})
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        result = unet(
            torch.randn(1, 4, 16, 16, generator=random),
            500,
            torch.randn(1, 77, 192, generator=random),
            added_cond_kwargs={"text_embeds": torch.randn(1, 128, generator=random), "time_ids": torch.ones(1, 6)},
        ).sample
    assert torch.isfinite(result).all()
    assert 0.05 < result.std() < 5


def test_another_seed_gives_other_weights(folder, tmp_path):
    make(tmp_path / "other.safetensors", "--seed", "1")
    other, first = (
        load_file(path)["conv_in.weight"] for path in (tmp_path / "other.safetensors", folder / "lattice.safetensors")
    )
    assert not np.array_equal(other, first)


@pytest.mark.parametrize("name", ["weights.bin", "no/such/folder/w.lzr2"])
def test_what_cannot_be_written_is_told(tmp_path, name):
    done = subprocess.run([sys.executable, str(TOOL), str(tmp_path / name)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: " in done.stderr


@pytest.mark.slow
def test_full_size_within_its_memory_and_one_forward_within_three_gigabytes(tmp_path):
    sdxl = TOOL.parent / "sdxl" / "unet_config.json"
    said = make(tmp_path / "sdxl.lzr2", config=sdxl)
    assert "1,680 tensors, 2,567,463,684 weights" in said
    assert float(said.split("at most ")[1].split(" GB")[0]) < 1.5
    benchmark = TOOL.parents[1] / "benchmarks" / "stream_forward.py"
    done = subprocess.run(
        [sys.executable, str(benchmark), str(tmp_path / "sdxl.lzr2"), "--vram-budget", "1GB", "--steps", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["peak_resident_nbytes"] < 3_000_000_000
    assert report["device_nbytes"] <= 1_000_000_000
    assert 0.05 < report["result_std"] < 5
