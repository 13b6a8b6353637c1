"""The demo is complete within the package."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

from streamer.models.demo import demo_concepts, demo_directory
from streamer.models.demo.files import UNET_SHA256


def test_every_part_that_the_pipeline_names_is_there():
    index = json.loads((demo_directory() / "model_index.json").read_text())
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    assert len(parts) == 7
    for part in parts:
        assert (demo_directory() / part).is_dir()


def test_there_are_148_different_concepts():
    concepts = demo_concepts()
    assert len(set(concepts)) == len(concepts) == 148
    assert all(concept == concept.strip() and concept for concept in concepts)


def test_the_model_brings_its_own_defaults():
    defaults = json.loads((demo_directory() / "streamer.json").read_text())
    assert {key: defaults[key] for key in ("steps", "guidance", "width", "height")} == {
        "steps": 25,
        "guidance": 2.5,
        "width": 64,
        "height": 64,
    }


def test_asking_for_the_demo_does_not_load_torch():
    code = "import sys, streamer.models.demo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_digest_is_that_of_the_packaged_weights():
    packed = demo_directory() / "unet" / "diffusion_pytorch_model.safetensors"
    assert hashlib.sha256(packed.read_bytes()).hexdigest() == UNET_SHA256
