"""What is read before the first step, so that no step compiles anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import lzr2
from streamer.config import StreamSettings
from streamer.models.first_read import compile_decoders, one_of_each
from streamer.sources.lzr2 import Lzr2Source
from tests.streamer.tower import MemorySource

COUNT = """
import sys, types
import torch
import streamer
from benchmarks.compare.inputs import unet_inputs

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("lzr2.")]
    functions = [f for module in modules for f in vars(module).values() if hasattr(f, "signatures")]
    return sum(len(f.signatures) for f in {id(f): f for f in functions}.values())

unet = streamer.load_unet(
    sys.argv[1], vram_budget="16MB", ram_budget=sys.argv[2] or None, spill=sys.argv[3] or None, device="cpu"
)
before = compiled()
with torch.no_grad():
    unet(**unet_inputs(dict(unet.config), 64, 1, "cpu", torch.float32))
print(before, compiled())
"""


def counted(path: Path, ram_budget: str, spill: str = "") -> tuple[int, int]:
    """Functions compiled, or found compiled, before and after the first step."""
    command = [sys.executable, "-c", COUNT, str(path), ram_budget, spill]
    before, after = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    return before, after


@pytest.mark.parametrize("ram_budget", ["", "0", "1GB"], ids=["default", "nothing held", "all held"])
def test_the_first_step_compiles_nothing(demo_lzr2: Path, ram_budget: str) -> None:
    before, after = counted(demo_lzr2, ram_budget)
    assert 0 < before == after


def test_nor_where_it_is_spilled(demo_safetensors: Path, tmp_path: Path) -> None:
    lzr2.save_file(load_file(demo_safetensors), tmp_path / "a.lzr2")  # of trained weights: nearly all in the overlay
    before, after = counted(tmp_path / "a.lzr2", "0", str(tmp_path / "spill"))
    assert list((tmp_path / "spill").iterdir())
    assert 0 < before == after


def test_of_each_kind_the_smallest_that_is_typical_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    dense = {f"dense{n}": random.standard_normal((n, 1024)).astype(np.float16) for n in (1, 65, 90, 513, 600)}
    packed = {f"packed{n}": random.integers(-1, 2, (n, 1024)).astype(np.float16) for n in (2, 70, 514, 700)}
    path = tmp_path / "a.lzr2"
    lzr2.save_file(dense | packed, path)
    source = Lzr2Source(path)
    large = 1 << 19
    assert one_of_each(source, source.keys(), large) == ("dense65", "dense513", "packed70", "packed514")
    assert one_of_each(source, ["dense1", "packed2"], large) == ("dense1", "packed2")
    assert one_of_each(source, ["dense1", "dense600", "packed70"], large) == ("dense600", "packed70")
    source.close()


def test_where_all_are_of_one_kind_one_is_read() -> None:
    source = MemorySource({"small": torch.zeros(3), "large": torch.zeros(5)})
    assert one_of_each(source, source.keys(), 9) == ("large",)
    assert one_of_each(source, [], 9) == ()


def test_whatever_the_default_device_is_it_reads_into_host_memory(tmp_path: Path) -> None:
    lzr2.save_file({"a": np.random.default_rng(0).standard_normal((4, 64)).astype(np.float16)}, tmp_path / "a.lzr2")
    source = Lzr2Source(tmp_path / "a.lzr2")
    told: list[str] = []
    with torch.device("meta"):
        settings = StreamSettings(ram_budget_nbytes=1 << 20, spill_dir=tmp_path)
        compile_decoders(source, ["a"], settings, torch.bfloat16, told.append)
    source.close()
