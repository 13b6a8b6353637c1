"""What one forward computes, without computing it."""

from __future__ import annotations

import json
import math

import pytest
import torch

from streamer.bench.unet_calls import record_calls
from streamer.models.demo import demo_directory
from streamer.models.unet import empty_unet, execution_order, unet_blocks
from streamer.models.unet_inputs import StepShape

SHAPE = StepShape(16, 16, 2)


@pytest.fixture(scope="module")
def config() -> dict:
    return json.loads((demo_directory() / "unet" / "config.json").read_text())


@pytest.fixture(scope="module")
def calls(config):
    return record_calls(config, torch.float32, SHAPE)


def test_every_block_is_called_in_the_order_that_is_known_beforehand(config, calls):
    blocks = unet_blocks(empty_unet(config))
    assert tuple(call.block for call in calls if call.block is not None) == execution_order(blocks)
    assert all(call.block is None or blocks[call.block].name == call.name for call in calls)


def test_every_weight_is_in_one_call(config, calls):
    weights = sum(parameter.numel() for call in calls for parameter in call.module.parameters())
    assert weights == sum(parameter.numel() for parameter in empty_unet(config).parameters())


def test_flops_of_a_convolution_are_those_of_its_formula(calls):
    call = next(call for call in calls if call.name == "conv_in")
    weights = call.module.weight.numel()
    assert call.flops == 2 * SHAPE.batch * SHAPE.height * SHAPE.width * weights
    assert call.work > call.flops


def test_flops_grow_with_the_picture(config, calls):
    wider = record_calls(config, torch.float32, StepShape(32, 16, 2))
    assert len(wider) == len(calls)
    for small, large in zip(calls, wider, strict=True):
        assert small.name == large.name
        assert large.flops >= small.flops
    ratio = sum(call.flops for call in wider) / sum(call.flops for call in calls)
    assert 1.9 < ratio < 3


def test_calls_of_one_kind_have_the_same_shapes(calls):
    kinds = {}
    for call in calls:
        shapes = [tuple(parameter.shape) for parameter in call.module.parameters()]
        assert kinds.setdefault(call.kind, (shapes, call.flops)) == (shapes, call.flops)
    assert len(kinds) < len(calls)


def test_nothing_is_left_of_the_hooks(calls):
    for call in calls:
        assert not call.module._forward_hooks
        assert not call.module._forward_pre_hooks


def test_a_layer_without_flops_still_works_on_its_elements(calls):
    norm = next(call for call in calls if type(call.module).__name__ == "GroupNorm")
    assert norm.flops == 0
    assert norm.work == 100 * math.prod(norm.args[0].shape)
