"""The inputs are those of the other benchmarks."""

from __future__ import annotations

import json

import torch

from benchmarks.compare.inputs import unet_inputs
from benchmarks.compare.model_files import CONFIGS
from benchmarks.stream_forward import inputs


def test_they_are_the_same_as_those_of_stream_forward():
    config = json.loads(CONFIGS["demo"].read_text("utf-8"))
    ours, theirs = unet_inputs(config, 64, 2, "cpu", torch.float32), inputs(config, 64, 2)
    assert ours.keys() == theirs.keys()
    for key in ("sample", "timestep", "encoder_hidden_states"):
        assert torch.equal(ours[key], theirs[key])
    for key in ("text_embeds", "time_ids"):
        assert torch.equal(ours["added_cond_kwargs"][key], theirs["added_cond_kwargs"][key])
