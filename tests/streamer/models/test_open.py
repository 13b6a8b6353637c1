"""Which model and budget are chosen when the user doesn't say."""

from __future__ import annotations

import json
import time
from functools import partial

import numpy as np
import psutil
import pytest
import torch

import lzr2
from streamer.errors import ModelError, WeightsFileError, WeightsMismatchError
from streamer.models import first_read
from streamer.models import open as opening
from streamer.models.defaults import Defaults
from streamer.models.demo import demo_directory
from streamer.models.open import SDXL_BASE, PipelineOptions, open_pipeline, open_unet
from streamer.models.patience import told_if_slow
from streamer.sources.lzr2 import Lzr2Source


def test_weights_of_the_demos_unet_are_drawn_with_the_demo(demo_lzr2):
    with open_pipeline(PipelineOptions(weights=demo_lzr2, device="cpu"), lambda line: None) as pipeline:
        assert pipeline.model_name == "demo"
        assert pipeline.parts.budget_nbytes == 16_000_000


@pytest.mark.parametrize("own", [None, 16_000_000])
def test_a_gpu_s_budget_is_what_is_free_whatever_a_model_takes_on_a_cpu(monkeypatch, own):
    # The demo's 16 MB are less than CUDA's context: with them, the first command of a new user was an error.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8_000_000_000, 10_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1_500_000_000)
    budget = opening._default_budget(torch.device("cuda:0"), Defaults(vram_budget_nbytes=own))
    assert budget == 7_600_000_000 + 2_000_000_000
    on_cpu = opening._default_budget(torch.device("cpu"), Defaults(vram_budget_nbytes=own))
    assert on_cpu == own or own is None


def test_other_weights_need_sdxl_without_its_unet(tmp_path, monkeypatch):
    path = tmp_path / "w.lzr2"
    lzr2.save_file({"conv_in.weight": np.zeros((320, 4, 3, 3), np.float16)}, path)
    asked: list[tuple[str, bool]] = []

    def find(name: str, *, with_unet: bool, notify: object, with_rest: bool, own: object) -> None:
        asked.append((name, with_unet))
        raise ModelError(name, "not here")

    monkeypatch.setattr(opening, "find_model", find)
    with pytest.raises(ModelError):
        open_pipeline(PipelineOptions(weights=path), lambda line: None)
    assert asked == [(SDXL_BASE, False)]


def test_only_for_a_plan_sdxls_own_shapes_do_and_nothing_is_fetched(tmp_path, monkeypatch):
    path = tmp_path / "w.lzr2"
    lzr2.save_file({"conv_in.weight": np.zeros((320, 4, 3, 3), np.float16)}, path)
    monkeypatch.setattr(opening, "find_model", lambda *_, **__: pytest.fail("something was fetched"))
    with pytest.raises(WeightsMismatchError) as caught:
        open_unet(PipelineOptions(weights=path, device="cpu"), lambda line: None, with_rest=False)
    assert len(caught.value.missing) == 1679


def test_a_part_over_the_demos_unet_is_drawn_with_the_demo(tmp_path):
    lzr2.save_file({"conv_out.bias": np.zeros(4, np.float16)}, tmp_path / "part.lzr2")
    options = PipelineOptions(weights=tmp_path / "part.lzr2", base=demo_directory() / "unet")
    with open_pipeline(options, lambda line: None) as pipeline:
        assert pipeline.model_name == "demo"


@pytest.mark.parametrize(
    "change", [{"block_out_channels": "x"}, {"block_out_channels": [7, 7]}, {"down_block_types": ["None"]}]
)
def test_a_unet_that_cannot_be_built_is_told(tmp_path, demo_lzr2, change):
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    config = json.loads((demo_directory() / "unet" / "config.json").read_text())
    (tmp_path / "unet" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match="describes no U-Net"):
        open_pipeline(PipelineOptions(weights=demo_lzr2, model=str(tmp_path)), lambda line: None)


def test_compiling_is_told_if_it_takes_long(demo_lzr2, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(first_read, "told_if_slow", partial(told_if_slow, seconds=0.0))
    read = Lzr2Source.read_into
    monkeypatch.setattr(Lzr2Source, "read_into", lambda *args: (time.sleep(0.2), read(*args)))
    with open_pipeline(PipelineOptions(weights=demo_lzr2), lines.append):
        assert any("Compiling" in line for line in lines)


def test_a_model_without_weights_needs_its_own_unet(monkeypatch):
    asked: list[tuple[str, bool]] = []

    def find(name: str, *, with_unet: bool, notify: object, with_rest: bool, own: object) -> None:
        asked.append((name, with_unet))
        raise ModelError(name, "not here")

    monkeypatch.setattr(opening, "find_model", find)
    with pytest.raises(ModelError):
        open_pipeline(PipelineOptions(model="a/b"), lambda line: None)
    assert asked == [("a/b", True)]


def test_a_model_without_a_unet_needs_weights(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="--weights"):
        open_pipeline(PipelineOptions(model=str(tmp_path)), lambda line: None)


def test_weights_that_are_not_there_are_told(tmp_path):
    with pytest.raises(WeightsFileError, match="no such file"):
        open_pipeline(PipelineOptions(weights=tmp_path / "gone.lzr2"), lambda line: None)


def test_a_base_without_weights_in_it_is_told(tmp_path, demo_lzr2):
    with pytest.raises(WeightsFileError, match="without safetensors"):
        open_pipeline(PipelineOptions(weights=demo_lzr2, base=tmp_path), lambda line: None)


def test_host_memory_is_used_by_default_where_the_file_is_larger_than_the_weights(demo_lzr2, demo_safetensors):
    from streamer.models.pipeline import Request

    held = {}
    for weights in (demo_lzr2, demo_safetensors):
        with open_pipeline(PipelineOptions(weights=weights, device="cpu"), lambda line: None) as pipeline:
            pipeline.generate(Request("sun", None, 0, 1, 1.0, 64, 64))
            held[weights] = pipeline.handle.held_nbytes
    assert 0 < held[demo_lzr2] < psutil.virtual_memory().available // 4
    assert held[demo_safetensors] == 0
