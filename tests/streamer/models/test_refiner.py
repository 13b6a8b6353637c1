"""A refiner is a model with a U-Net of its own. Pictures: `test_extras.py`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from streamer.errors import ModelError
from streamer.models.refiner import Refiner, open_refiner


def test_the_pipeline_that_takes_over_is_made_of_its_modules():
    made: dict[str, object] = {}

    class Kind:
        def __init__(self, **given: object) -> None:
            made.update(given)

        def set_progress_bar_config(self, *, disable: bool) -> None:
            made["quiet"] = disable

    Refiner("r", {"unet": 1, "vae": 2}, scores=True, empty_is_zeros=False).pipeline(Kind)
    assert made == {
        "unet": 1,
        "vae": 2,
        "requires_aesthetics_score": True,
        "force_zeros_for_empty_prompt": False,
        "add_watermarker": False,
        "quiet": True,
    }


def test_what_is_no_model_is_named(tmp_path):
    def opened(name: str) -> Refiner:
        nobody = SimpleNamespace()
        return open_refiner(name, nobody, nobody, torch.float32, None, print, print)

    with pytest.raises(ModelError, match="none"):
        opened(str(tmp_path / "none"))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLImg2ImgPipeline"}))
    with pytest.raises(ModelError, match=tmp_path.name):
        opened(str(tmp_path))


def test_a_single_file_is_told_what_to_give_instead(tmp_path):
    file = tmp_path / "refiner.safetensors"
    file.write_bytes(b"12345678")
    nobody = SimpleNamespace()
    with pytest.raises(ModelError, match=r"single file[\s\S]*stable-diffusion-xl-refiner-1\.0"):
        open_refiner(str(file), nobody, nobody, torch.float32, None, print, print)
