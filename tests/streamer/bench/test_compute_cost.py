"""Seconds of each turn: measured whole, measured by kind, or from a given speed."""

from __future__ import annotations

import json

import pytest
import torch

from streamer.bench import compute_cost
from streamer.bench.compute_cost import assumed_cost, measured_cost
from streamer.bench.unet_calls import record_calls
from streamer.models.demo import demo_directory
from streamer.models.unet import empty_unet, execution_order, unet_blocks
from streamer.models.unet_inputs import StepShape

CPU = torch.device("cpu")
SHAPE = StepShape(32, 32, 2)


@pytest.fixture(scope="module")
def config() -> dict:
    return json.loads((demo_directory() / "unet" / "config.json").read_text())


@pytest.fixture
def order(config) -> tuple[int, ...]:
    return execution_order(unet_blocks(empty_unet(config)))


def test_a_given_speed_divides_the_flops(config, order):
    cost = assumed_cost(config, SHAPE, 1e9)
    flops = sum(call.flops for call in record_calls(config, torch.float32, SHAPE))
    assert cost.order == order
    assert cost.flops == flops
    assert cost.seconds == pytest.approx(flops / 1e9)
    assert cost.measured_at is None


@pytest.mark.parametrize("slow", [False, True])
def test_measured_whole_or_by_kind_every_turn_takes_its_time(config, order, monkeypatch, slow):
    if slow:
        monkeypatch.setattr(compute_cost, "_speed", lambda *_: 1e9)
    cost = measured_cost(config, SHAPE, CPU, torch.float32, 0.3)
    assert cost.order == order
    assert len(cost.turn_seconds) == len(cost.gap_seconds) == len(order)
    assert all(seconds > 0 for seconds in cost.turn_seconds)
    assert all(seconds >= 0 for seconds in cost.gap_seconds)
    assert 0 < cost.seconds < 60
    assert (cost.measured_at == SHAPE) != slow


def test_what_would_take_too_long_is_measured_smaller_and_grows_with_the_flops(config, order, monkeypatch):
    monkeypatch.setattr(compute_cost, "_speed", lambda *_: 1e6)
    monkeypatch.setattr(compute_cost, "seconds_per_size", lambda pieces, _: dict.fromkeys([p.key for p in pieces], 0.5))
    cost = measured_cost(config, SHAPE, CPU, torch.float32, 0.1)
    assert cost.measured_at == StepShape(16, 16, 1)
    calls = record_calls(config, torch.float32, SHAPE)
    assert cost.seconds == pytest.approx(0.5 * sum(call.work for call in calls))
    assert cost.turn_seconds == pytest.approx([0.5 * call.work for call in calls if call.block is not None])


def test_a_shape_is_halved_the_batch_first_and_never_too_small():
    assert compute_cost._less(StepShape(128, 64, 2)) == StepShape(128, 64, 1)
    assert compute_cost._less(StepShape(128, 64, 1)) == StepShape(64, 32, 1)
    assert compute_cost._less(StepShape(64, 31, 1)) is None
