"""The size of a step: what was asked for, else the model's."""

from __future__ import annotations

import pytest

from streamer.bench.step_size import step_size
from streamer.errors import SettingError
from streamer.models.open import PipelineOptions, open_unet
from streamer.models.unet_inputs import StepShape, unet_activations


@pytest.fixture(scope="module")
def opened(demo_lzr2):
    found = open_unet(PipelineOptions(weights=demo_lzr2, device="cpu"), print, with_rest=False)
    yield found
    found.source.close()


def test_the_models_own_size_and_guidance(opened):
    size = step_size(opened, None, None, None)
    assert (size.width, size.height) == (opened.defaults.width, opened.defaults.height)
    assert size.shape.batch == 2
    assert size.shape.width * 4 == size.width or size.shape.width * 8 == size.width


def test_what_is_asked_for_counts(opened):
    wide, usual = step_size(opened, 128, 64, 1.0), step_size(opened, 64, 64, 1.0)
    assert wide.shape == StepShape(2 * usual.shape.width, usual.shape.height, 1)
    assert wide.beside_nbytes > unet_activations(dict(opened.unet.config), opened.dtype, wide.shape, opened.device)
    assert wide.beside_nbytes > usual.beside_nbytes


def test_a_size_that_cannot_be_drawn_is_refused(opened):
    with pytest.raises(SettingError, match="multiple of 8"):
        step_size(opened, 100, 64, None)
