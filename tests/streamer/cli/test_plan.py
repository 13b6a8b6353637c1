"""`streamer plan`."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lzr2
from streamer.models.sdxl import sdxl_unet_config

FAST = ("--device", "cpu", "--compute", "0.001", "--ram-budget", "0")


@pytest.fixture
def plan(streamer, demo_lzr2, monkeypatch):
    monkeypatch.setattr("streamer.models.open.demo_weights", lambda **_: demo_lzr2)
    return lambda *arguments: streamer("plan", *FAST, *arguments)


def test_without_arguments_it_is_the_demos(streamer, demo_lzr2, monkeypatch):
    monkeypatch.setattr("streamer.models.open.demo_weights", lambda **_: demo_lzr2)
    done = streamer("plan")
    assert done.code == 0, done.err
    assert "Of 16 MB, 3.8 MB are for activations" in done.out
    assert "Predicted for 64 x 64" in done.out
    assert "were timed for this" in done.out


def test_the_picture_the_parts_and_the_budgets_are_shown(plan):
    done = plan("--vram-budget", "20MB")
    lines = done.out.splitlines()
    assert any(set(line) == {"#", "."} and len(line) == 72 for line in lines)
    parts = [line.split()[0] for line in lines if line.startswith(("rest", "down_", "mid_", "up_"))]
    assert parts == [
        "rest",
        *(f"down_blocks.{i}" for i in range(3)),
        "mid_block",
        *(f"up_blocks.{i}" for i in range(3)),
    ]
    budgets = [line for line in lines if " of 23 blocks" in line and "MB" in line.split()[0]]
    assert len(budgets) == 9
    assert next(line for line in budgets if " < " in line).startswith("20MB")
    assert "23 of 23 blocks" in budgets[-1]
    assert "given with --compute" in done.out


def test_json_has_everything_in_one_line(plan, demo_lzr2):
    done = plan("--json", "--vram-budget", "20MB", "--width", "128", "--disk", "0.5", "--threads", "3")
    assert len(done.out.splitlines()) == 1
    found = json.loads(done.out)
    assert (found["vram_budget"], found["width"], found["height"]) == (20_000_000, 128, 64)
    assert found["machine"]["workers"] == 3
    assert found["machine"]["disk"] == 0.5e9
    assert found["device_nbytes"] <= found["vram_budget"]
    assert len(found["blocks"]) == 23
    assert sum(block["compute_seconds"] for block in found["blocks"]) == pytest.approx(found["flops"] / 1e9, rel=0.2)
    stays = sum(block["nbytes"] for block in found["blocks"] if block["stays"])
    assert stays == found["resident_nbytes"]
    assert found["step_seconds"] >= max(found["limits"].values()) * 0.999
    assert found["thresholds"] == sorted(found["thresholds"])
    assert found["budgets"][0]["vram_budget"] == found["thresholds"][0]
    assert found["budgets"][-1]["streamed_nbytes"] == 0


def test_a_budget_that_cannot_work_names_the_smallest_that_can(plan):
    done = plan("--vram-budget", "1MB")
    assert done.code == 2
    smallest = done.err.split("The smallest that works is ")[1].split()[0].rstrip(".")
    assert plan("--vram-budget", smallest).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vram-budget", "lots"), "is not a size"),
        (("--disk", "0"), "--disk"),
        (("--disk", "nan"), "--disk"),
        (("--compute", "-1"), "--compute"),
        (("--link", "12"), "no link"),
        (("--width", "0"), "isn't within"),
        (("--height", "100"), "multiple of 8"),
        (("--guidance", "-1"), "makes no sense"),
        (("--weights", "gone.lzr2"), "no such file"),
        (("--device", "tpu"), "no device"),
    ],
)
def test_nonsense_is_refused_in_words(plan, arguments, said):
    done = plan(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_file_for_sdxl_is_planned_for_without_fetching_anything(plan, tmp_path, monkeypatch):
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("nothing needs fetching")

    monkeypatch.setattr("streamer.models.open.find_model", fetch)
    path = tmp_path / "w.lzr2"
    lzr2.save_file({"conv_in.weight": np.zeros((320, 4, 3, 3), np.float16)}, path)
    done = plan("--weights", path)
    assert done.code == 2
    assert "The model needs, and nothing gives (1679)" in done.err


def test_guidance_computes_twice(plan):
    once, twice = (json.loads(plan("--json", "--guidance", scale).out)["flops"] for scale in ("1", "5"))
    assert twice == pytest.approx(2 * once)


def test_sdxls_configuration_is_in_the_package():
    config = json.loads(sdxl_unet_config().read_text("utf-8"))
    assert config["block_out_channels"] == [320, 640, 1280]
