"""Measured steps are the engine's own, and their result is the resident model's."""

from __future__ import annotations

import torch

from streamer.bench.step_inputs import step_inputs
from streamer.bench.streamed_steps import digest, streamed_steps
from streamer.config import StreamSettings
from streamer.models.open import PipelineOptions, open_unet
from streamer.models.unet import stream_unet
from streamer.models.unet_inputs import StepShape

SHAPE = StepShape(16, 16, 1)


def test_steps_are_counted_and_give_the_resident_models_result(demo_lzr2, resident_unet):
    opened = open_unet(PipelineOptions(weights=demo_lzr2, device="cpu"), print, with_rest=False)
    arguments = step_inputs(dict(opened.unet.config), SHAPE)
    settings = StreamSettings(12_000_000, workers=1)
    told: list[tuple[int, float]] = []
    with stream_unet(opened.unet, opened.source, settings, opened.device, opened.dtype) as handle:
        with torch.no_grad():
            opened.unet(**arguments)  # what was before isn't counted
        found = streamed_steps(opened.unet, handle, arguments, 4, lambda *step: told.append(step))
        assert found.stats == handle.stats.steps[1:]
        assert found.device_nbytes == handle.device_nbytes
        assert found.streamed_nbytes == handle.plan.streamed_nbytes > 0
    with torch.no_grad():
        expected = resident_unet(**arguments).sample
    assert found.digest == digest(expected)
    assert found.finite
    assert abs(found.spread - float(expected.std())) < 1e-6
    assert told == list(enumerate(found.seconds, 1))
    assert len(found.later) == 3
    assert found.step_seconds == sorted(found.seconds[1:])[1]
    median = found.seconds.index(sorted(found.seconds[1:])[1], 1)
    assert found.typical == found.stats[median]
    assert found.peak_device_nbytes is None
    assert found.peak_resident_nbytes > 12_000_000
    assert found.most_waited == tuple(sorted(found.most_waited, key=lambda item: -item[1]))
    assert len(found.most_waited) <= 5


def test_one_step_is_its_own_median(demo_lzr2):
    opened = open_unet(PipelineOptions(weights=demo_lzr2, device="cpu"), print, with_rest=False)
    arguments = step_inputs(dict(opened.unet.config), SHAPE)
    with stream_unet(opened.unet, opened.source, opened.settings, opened.device, opened.dtype) as handle:
        found = streamed_steps(opened.unet, handle, arguments, 1)
    assert found.later == found.stats
    assert found.step_seconds == found.seconds[0]


def test_digests_tell_results_apart_by_every_bit():
    zeros = torch.zeros(3)
    assert digest(zeros) == digest(torch.zeros(3))
    assert digest(zeros) != digest(torch.tensor([0.0, -0.0, 0.0]))
    assert len(digest(zeros.half())) == 16
