"""What the options say about other pictures and adapters. As a user runs them: `test_gen_conditions.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.cli.conditions import ConditionOptions
from streamer.errors import SettingError
from tests.streamer import adapters


def test_nothing_said_is_nothing():
    conditioning = ConditionOptions().conditioning(pytest.fail)
    assert (conditioning.start, conditioning.controls, conditioning.refine_from) == (None, (), None)
    extras = ConditionOptions().extras()
    assert (extras.controls, extras.loras, extras.ip_adapter, extras.refiner) == ((), (), None, None)


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"mask": Path("m.png")}, "--image"),
        ({"strength": 0.5}, "--image"),
        ({"control_scale": [0.5]}, "--control"),
        ({"ip_scale": 0.5}, "--ip-adapter"),
        ({"ip_encoder": Path("e")}, "--ip-adapter"),
        ({"refine_from": 0.5}, "--refiner"),
    ],
)
def test_an_option_without_the_one_that_it_belongs_to_is_an_error(options, lacks):
    with pytest.raises(SettingError, match=lacks):
        ConditionOptions(**options).conditioning(pytest.fail)


def test_a_mask_of_another_size_or_without_white_is_told(tmp_path):
    image = adapters.picture(tmp_path / "a.png")
    told: list[str] = []
    mask = adapters.mask(tmp_path / "m.png", (128, 128))
    start = ConditionOptions(image=image, mask=mask).conditioning(told.append).start
    assert start is not None
    assert start.mask is not None
    assert len(told) == 1
    assert "128 x 128" in told[0]


def test_a_refiner_takes_over_at_four_fifths_unless_said_otherwise():
    assert ConditionOptions(refiner="r").conditioning(pytest.fail).refine_from == 0.8
    assert ConditionOptions(refiner="r", refine_from=0.5).conditioning(pytest.fail).refine_from == 0.5
