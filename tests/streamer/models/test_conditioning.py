"""What a picture is made from: its numbers and what goes together."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamer.errors import SettingError
from streamer.models.conditioning import Conditioning, Hint, Start
from streamer.models.input_image import InputImage

IMAGE = InputImage("a.png", "00", Image.new("RGB", (64, 64)))
MASK = InputImage("m.png", "11", Image.new("L", (64, 64)))


def test_settings_have_everything_and_are_json():
    made = Conditioning(Start(IMAGE, 0.5, MASK), (Hint(IMAGE, 1.0),), Hint(IMAGE, 0.6), 0.8).settings()
    assert json.loads(json.dumps(made)) == {
        "image": {"file": "a.png", "sha256": "00"},
        "strength": 0.5,
        "mask": {"file": "m.png", "sha256": "11"},
        "controls": [{"image": {"file": "a.png", "sha256": "00"}, "scale": 1.0}],
        "image_prompt": {"image": {"file": "a.png", "sha256": "00"}, "scale": 0.6},
        "refine_from": 0.8,
    }
    assert Conditioning().settings() == {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conditioning(Start(IMAGE, 0.0)),
        lambda: Conditioning(Start(IMAGE, 1.1)),
        lambda: Conditioning(Start(IMAGE, math.nan)),
        lambda: Conditioning(controls=(Hint(IMAGE, -0.1),)),
        lambda: Conditioning(image_prompt=Hint(IMAGE, math.inf)),
        lambda: Conditioning(refine_from=1.0),
        lambda: Conditioning(refine_from=0.0),
        lambda: Conditioning(Start(IMAGE, 0.5), (Hint(IMAGE, 1.0),), refine_from=0.8),
    ],
)
def test_what_makes_no_sense_is_an_error(make):
    with pytest.raises(SettingError):
        make()


@given(st.integers(1, 100), st.floats(0.001, 1))
def test_at_least_one_step_is_made(steps, strength):
    conditioning = Conditioning(Start(IMAGE, strength))
    if math.floor(steps * strength) >= 1:
        conditioning.require_steps(steps)
    else:
        with pytest.raises(SettingError, match="no step"):
            conditioning.require_steps(steps)


@given(st.integers(1, 100), st.floats(0.01, 0.99))
def test_both_make_a_step(steps, share):
    conditioning = Conditioning(refine_from=share)
    first = round(steps * share)
    if 0 < first < steps:
        conditioning.require_steps(steps)
    else:
        with pytest.raises(SettingError, match="refiner"):
            conditioning.require_steps(steps)
