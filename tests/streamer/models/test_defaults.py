"""Defaults come with the model."""

from __future__ import annotations

import pytest

from streamer.errors import ModelError
from streamer.models.defaults import Defaults, read_defaults
from streamer.models.demo import demo_directory

VAE = {"block_out_channels": [128, 256, 512, 512]}


def test_the_demos_own():
    defaults = read_defaults(demo_directory(), {"sample_size": 16}, {"block_out_channels": [1, 2, 3]})
    assert (defaults.steps, defaults.guidance, defaults.width, defaults.height) == (25, 2.5, 64, 64)


def test_without_a_file_the_size_is_what_the_unet_was_trained_for(tmp_path):
    assert read_defaults(tmp_path, {"sample_size": 128}, VAE) == Defaults(30, 5.0, 1024, 1024)
    assert read_defaults(tmp_path, {"sample_size": 64}, VAE).width == 512


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"steps": 0}', '{"steps": "9"}', '{"width": 1e9}', '{"guidance": []}', '{"vram_budget": 3}']
)
def test_what_makes_no_sense_is_told(tmp_path, content):
    (tmp_path / "streamer.json").write_text(content)
    with pytest.raises(ModelError, match=r"streamer\.json"):
        read_defaults(tmp_path, {}, VAE)
