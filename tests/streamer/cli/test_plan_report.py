"""A forecast as tables and as JSON: what is said is what was found."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from streamer.bench.forecast import forecast
from streamer.cli.plan_report import as_json, print_report
from streamer.config import UNLIMITED
from streamer.models.open import PipelineOptions, open_unet
from streamer.models.unet_inputs import StepShape


@pytest.fixture(scope="module")
def found(demo_lzr2):
    options = PipelineOptions(weights=demo_lzr2, device="cpu", ram_budget_nbytes=0)
    opened = open_unet(options, print, with_rest=False)
    yield forecast(opened, StepShape(16, 16, 1), disk=1e9, flops_per_second=1e9)
    opened.source.close()


@pytest.fixture
def printed(found, capsys):
    def call(budget: int, *, by_block: bool = False) -> str:
        print_report(found, budget, 64, 64, by_block=by_block)
        return capsys.readouterr().out

    return call


def test_each_block_has_a_row_whose_name_is_never_cut(found, printed):
    out = printed(20_000_000, by_block=True)
    rows = {line.split()[0] for line in out.splitlines() if line}
    assert rows >= {block.name for block in found.blocks}


def test_a_part_has_the_bytes_and_seconds_of_its_blocks(found, printed):
    plan = found.at(20_000_000).plan
    row = next(line for line in printed(20_000_000).splitlines() if line.startswith("mid_block"))
    stays = sum(plan.blocks[i].nbytes for i in plan.resident if plan.blocks[i].name.startswith("mid_block"))
    streams = sum(plan.blocks[i].nbytes for i in plan.streamed if plan.blocks[i].name.startswith("mid_block"))
    cells = re.split(r"  +", row.strip())
    assert cells[1:3] == [f"{stays / 1e6:.3g} MB" if stays else "-", f"{streams / 1e6:.3g} MB" if streams else "-"]


def test_the_one_that_was_asked_for_is_marked_once(printed):
    out = printed(20_000_000)
    assert [line.split()[:2] for line in out.splitlines() if " < " in line] == [["20MB", "<"]]


def test_without_limits_everything_stays_and_nothing_comes_again(printed):
    out = printed(UNLIMITED)
    assert out.startswith("Of unlimited, 0 B are for activations")
    assert "All 23 blocks" in out
    assert "unlimited <" in out
    assert "0 B have to come from the disk again" in out
    picture = next(line for line in out.splitlines() if set(line) == {"#"})
    assert len(picture) == 72


@pytest.mark.parametrize("packs", [False, True])
def test_where_blocks_may_stay_packed_it_is_said_that_more_stays(found, capsys, packs):
    on_device = replace(found, packs=packs, machine=replace(found.machine, link=12e9, compute_threads=0))
    print_report(on_device, 20_000_000, 64, 64, by_block=False)
    assert ("may move and stay packed" in capsys.readouterr().out) == packs


def test_json_is_what_the_prediction_says(found):
    said = as_json(found, 20_000_000, 64, 64)
    assert json.loads(json.dumps(said)) == said
    prediction = found.at(20_000_000).prediction
    assert said["step_seconds"] == prediction.step_seconds
    assert said["bound"] == prediction.bound
    assert said["waited_seconds"] == pytest.approx(sum(block["stall_seconds"] for block in said["blocks"]))
    for row in said["budgets"]:
        assert row["step_seconds"] == found.at(row["vram_budget"]).prediction.step_seconds
