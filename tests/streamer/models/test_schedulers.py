"""Schedulers by name keep the model's settings."""

from __future__ import annotations

import pytest
from diffusers import EulerDiscreteScheduler

from streamer.errors import SettingError
from streamer.models.schedulers import make_scheduler, scheduler_names


@pytest.mark.parametrize("name", scheduler_names())
def test_each_takes_the_models_settings(name):
    like = EulerDiscreteScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction")
    scheduler = make_scheduler(name, like)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_schedule == "scaled_linear"
    for steps in (1, 2, 5):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) >= steps


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(SettingError, match=r"euler-a"):
        make_scheduler("karras", EulerDiscreteScheduler())
