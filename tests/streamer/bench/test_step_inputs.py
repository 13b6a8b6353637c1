"""Arguments of a step: what the U-Net takes, the same every time."""

from __future__ import annotations

import json

import pytest
import torch

from streamer.bench.step_inputs import step_inputs
from streamer.models.demo import demo_directory
from streamer.models.unet_inputs import StepShape, unet_inputs

CONFIG = json.loads((demo_directory() / "unet" / "config.json").read_text("utf-8"))
SHAPE = StepShape(width=16, height=8, batch=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_shapes_and_types_are_a_pipelines(dtype):
    made, expected = step_inputs(CONFIG, SHAPE, dtype=dtype), unet_inputs(CONFIG, dtype, SHAPE)
    made, expected = ({**each.pop("added_cond_kwargs"), **each} for each in (made, expected))
    assert made.keys() == expected.keys()
    for name, tensor in expected.items():
        assert made[name].shape == tensor.shape, name
        assert name == "timestep" or made[name].dtype == tensor.dtype


def test_the_same_every_time_whatever_torch_has_drawn_before():
    first = step_inputs(CONFIG, SHAPE)["sample"]
    torch.rand(100)
    assert torch.equal(first, step_inputs(CONFIG, SHAPE)["sample"])
    assert first.std() > 0.5


def test_times_are_those_of_the_picture():
    ids = step_inputs(CONFIG, SHAPE)["added_cond_kwargs"]["time_ids"]
    assert ids.tolist() == [[64, 128, 0, 0, 64, 128]] * 2


def test_a_real_unet_takes_them(resident_unet):
    with torch.no_grad():
        result = resident_unet(**step_inputs(CONFIG, SHAPE)).sample
    assert result.shape == (2, 4, 8, 16)
    assert torch.isfinite(result).all()
