"""The synthetic U-Net: the same weights in both containers, sane, and of the announced kind."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import load_file

import lzr2
from streamer.models.demo import demo_directory
from streamer.models.sdxl import sdxl_unet_config

TOOL = Path(__file__).parents[2] / "tools" / "make_synthetic_sdxl.py"
SMALL = demo_directory() / "unet" / "config.json"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_synthetic_sdxl", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(tool: ModuleType, path: Path, *arguments: str) -> None:
    assert tool.main([str(path), "--config", str(SMALL), *arguments]) == 0


@pytest.fixture(scope="module")
def folder(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic")
    for weights in ("lattice", "gaussian"):
        for kind in ("lzr2", "safetensors"):
            make(tool, path / f"{weights}.{kind}", "--weights", weights)
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


def test_another_seed_gives_other_weights(tool, folder, tmp_path):
    make(tool, tmp_path / "other.safetensors", "--seed", "1")
    other, first = (
        load_file(path)["conv_in.weight"] for path in (tmp_path / "other.safetensors", folder / "lattice.safetensors")
    )
    assert not np.array_equal(other, first)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["weights.bin"], "ends in .lzr2 or .safetensors"),
        (["taken/w.lzr2"], "taken can't be made"),
        (["w.lzr2", "--config", "no.json"], "is not a file"),
    ],
)
def test_what_cannot_be_done_is_told(tool, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    with pytest.raises(SystemExit, match="2"):
        tool.main(arguments)
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_full_size_is_that_of_the_published_model(tool):
    shapes = tool.tensor_shapes(json.loads(tool.SDXL_CONFIG.read_text()))
    assert len(shapes) == 1680
    assert sum(math.prod(shape) for shape in shapes.values()) == 2_567_463_684
    assert shapes["conv_in.weight"] == (320, 4, 3, 3)
    assert shapes["add_embedding.linear_1.weight"] == (1280, 2816)
    assert shapes["up_blocks.0.attentions.2.transformer_blocks.9.attn2.to_k.weight"] == (1280, 2048)


def test_a_disk_without_room_is_told_before_anything_is_written(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(SystemExit, match="2"):
        tool.main([str(tmp_path / "w.lzr2"), "--weights", "gaussian", "--config", str(SMALL)])
    assert "1,000 bytes free; up to 8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["lzr2", "safetensors"])
def test_an_interrupted_run_leaves_what_was_there(tool, tmp_path, monkeypatch, kind):
    path = tmp_path / f"w.{kind}"
    path.write_bytes(b"before")
    make_tensor = tool.make_tensor

    def interrupted(key, *rest):
        if key.startswith("mid_block"):
            raise KeyboardInterrupt
        return make_tensor(key, *rest)

    monkeypatch.setattr(tool, "make_tensor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.main([str(path), "--config", str(SMALL)])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("weights", ["lattice", "gaussian"])
def test_a_tensor_depends_on_key_seed_and_kind_only(tool, weights):
    made = [
        tool.make_tensor(key, (8, 16, 3, 3), weights, seed) for key, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    ]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[3])


def test_a_lattice_row_has_three_values_but_for_one_in_a_hundred(tool):
    tensor = tool.make_tensor("a.weight", (32, 10_000), "lattice", 0)
    for row in tensor.view(np.uint16):  # numpy 2.4.6 doesn't sort every float16 array where it uses AVX-512
        counts = np.sort(np.unique(row, return_counts=True)[1])[::-1]
        assert 0.985 < counts[:3].sum() / row.size < 0.995


@pytest.mark.slow
def test_full_size_within_its_memory_and_one_forward_within_three_gigabytes(tmp_path):
    command = [sys.executable, str(TOOL), str(tmp_path / "sdxl.lzr2"), "--config", str(sdxl_unet_config())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
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
