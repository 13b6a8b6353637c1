"""One real forward, turn by turn."""

from __future__ import annotations

import json
import time

import pytest
import torch

from streamer.bench.whole_forward import _overlay_weights, timed_forward
from streamer.models.demo import demo_directory
from streamer.models.unet import empty_unet, execution_order, unet_blocks
from streamer.models.unet_inputs import StepShape

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config() -> dict:
    return json.loads((demo_directory() / "unet" / "config.json").read_text())


def test_the_turns_are_those_of_the_model_and_together_as_long_as_a_forward(config):
    started = time.perf_counter()
    laps = timed_forward(config, StepShape(16, 16, 1), CPU, torch.float32, 0.0)
    took = time.perf_counter() - started
    assert tuple(laps.order) == execution_order(unet_blocks(empty_unet(config)))
    assert len(laps.turns) == len(laps.gaps) == len(laps.order)
    assert min(laps.turns) > 0
    assert 0 < sum(laps.turns) + sum(laps.gaps) < took


def test_all_weights_lie_over_each_other(config):
    unet = empty_unet(config)
    shapes = [parameter.shape for parameter in unet.parameters()]
    _overlay_weights(unet, CPU, torch.float32)
    parameters = list(unet.parameters())
    assert [parameter.shape for parameter in parameters] == shapes
    assert len({parameter.data_ptr() for parameter in parameters}) == 1
    largest = max(parameter.numel() for parameter in parameters)
    assert parameters[0].untyped_storage().nbytes() == 4 * largest
