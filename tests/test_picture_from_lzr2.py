"""The main job end to end: the command draws what is asked, from weights that stream out of an LZR2 file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from streamer.models.demo import demo_concepts
from tests.picture import assert_shows, references

CONCEPTS = [
    "red apple",
    "blue heart",
    "star",
    "sun",
    "umbrella",
    "red heart",
    "crescent moon",
    "rainbow",
    "smiling face with sunglasses",
    "wrapped gift",
    "crown",
    "green apple",
]


def test_references_are_all_different():
    pictures = references()
    assert len(pictures) == len(demo_concepts()) == 148
    assert len({picture.tobytes() for picture in pictures.values()}) == 148


def test_each_picture_is_nearest_to_its_own_concept_of_148(tmp_path: Path, demo_lzr2: Path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from streamer.cli.app import main; main()", "gen", *CONCEPTS),
            *("--weights", str(demo_lzr2), "--vram-budget", "11MB", "--device", "cpu", "--seed", "5", "--json", "-q"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["streamed_nbytes_per_step"] > summary["resident_nbytes"] > 0
    assert summary["device_weights_nbytes"] <= 8_000_000
    assert [made["prompt"] for made in summary["pictures"]] == CONCEPTS
    for made in summary["pictures"]:
        with Image.open(tmp_path / made["path"]) as picture:
            assert_shows(picture, made["prompt"])
