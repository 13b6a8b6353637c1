"""SDXL's configurations within the package."""

from __future__ import annotations

import json

from streamer.models.defaults import Defaults, latent_factor, read_defaults
from streamer.models.directory import ModelDirectory
from streamer.models.sdxl import sdxl_directory, sdxl_unet_config


def test_it_is_a_directory_of_which_unet_and_vae_can_be_known():
    directory = ModelDirectory("sdxl", sdxl_directory(), None)
    assert directory.config("unet") == json.loads(sdxl_unet_config().read_text("utf-8"))
    assert directory.unet_files() == ()
    assert latent_factor(directory.config("vae")) == 8
    defaults = read_defaults(directory.root, directory.config("unet"), directory.config("vae"))
    assert defaults == Defaults(30, 5.0, 1024, 1024)
