"""ControlNets, adapters and a refiner count within the one budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.config import UNLIMITED
from streamer.errors import PartBudgetError
from streamer.models.conditioning import Conditioning, Hint, Start
from streamer.models.extras import ExtraOptions
from streamer.models.input_image import read_image
from streamer.models.ip_adapter import IpAdapterFile
from streamer.models.lora import LoraFile
from streamer.models.open import PipelineOptions, open_pipeline
from streamer.models.pipeline import Request, StreamedPipeline
from tests.streamer import adapters
from tests.streamer.models.live_memory import LiveMemory

REQUEST = Request("sun", None, seed=1, steps=2, guidance=2.5, width=64, height=64)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    adapters.picture(folder / "0.png")
    adapters.controlnet(folder / "control")
    adapters.lora(folder, "a.safetensors")
    adapters.ip_adapter(folder / "ip")
    adapters.refiner(folder / "refiner")
    return folder


def case(name: str, files: Path) -> tuple[ExtraOptions, Conditioning]:
    seen = Hint(read_image(files / "0.png"), 1.0)
    control, ip_adapter = str(files / "control"), IpAdapterFile(files / "ip" / "ip.safetensors")
    cases: dict[str, tuple[ExtraOptions, Conditioning]] = {
        "image": (ExtraOptions(), Conditioning(Start(seen.image, 1.0))),
        "control": (ExtraOptions(controls=(control,)), Conditioning(controls=(seen,))),
        "controls": (ExtraOptions(controls=(control, control)), Conditioning(controls=(seen, seen))),
        "lora": (ExtraOptions(loras=(LoraFile(files / "a.safetensors"),)), Conditioning()),
        "ip": (
            ExtraOptions(ip_adapter=ip_adapter),
            Conditioning(image_prompt=seen),
        ),
        "refiner": (ExtraOptions(refiner=str(files / "refiner")), Conditioning(refine_from=0.5)),
    }
    return cases[name]


def opened(weights: Path, budget: int, extras: ExtraOptions) -> StreamedPipeline:
    options: dict[str, Any] = {"weights": weights, "device": "cpu", "workers": 1, "extras": extras}
    return open_pipeline(PipelineOptions(vram_budget_nbytes=budget, **options), lambda line: None)


def smallest(weights: Path, extras: ExtraOptions, request: Request) -> int:
    with opened(weights, 1, extras) as pipeline, pytest.raises(PartBudgetError) as caught:
        pipeline.prepare(request)
    return caught.value.smallest_nbytes


@pytest.mark.parametrize("factor", [1.0, 1.3])
@pytest.mark.parametrize("name", ["image", "control", "controls", "lora", "ip", "refiner"])
def test_never_more_is_held_than_the_budget_says(demo_lzr2, files, name, factor):
    extras, conditioning = case(name, files)
    request = replace(REQUEST, conditioning=conditioning)
    least = smallest(demo_lzr2, extras, request)
    budget = int(least * factor)
    with opened(demo_lzr2, budget, extras) as pipeline, LiveMemory() as live:
        pipeline.generate(request)
    assert 0 < live.peak_nbytes <= budget
    if factor == 1.0:
        with opened(demo_lzr2, least - 1, extras) as pipeline, pytest.raises(PartBudgetError) as caught:
            pipeline.generate(request)
        assert caught.value.smallest_nbytes == least


@pytest.mark.parametrize("name", ["control", "lora", "ip"])
def test_more_is_needed_than_without(demo_lzr2, files, name):
    extras, conditioning = case(name, files)
    more = smallest(demo_lzr2, extras, replace(REQUEST, conditioning=conditioning))
    assert more > smallest(demo_lzr2, ExtraOptions(), REQUEST)


def test_those_that_run_in_each_step_keep_what_has_room(demo_lzr2, files):
    extras, conditioning = case("control", files)
    request = replace(REQUEST, steps=4, conditioning=conditioning)
    with opened(demo_lzr2, UNLIMITED, extras) as pipeline:
        total = sum(handle.total_nbytes for handle in pipeline.parts.handles.values())
    with opened(demo_lzr2, smallest(demo_lzr2, extras, request) + total // 3, extras) as pipeline:
        pipeline.generate(request)
        control = next(handle for name, handle in pipeline.parts.handles.items() if "ControlNet" in name)
        for handle in (pipeline.handle, control):
            last = handle.stats.steps[-1].work.loaded_nbytes
            assert last < handle.stats.steps[0].work.loaded_nbytes
            assert handle.plan.resident_nbytes > 0
