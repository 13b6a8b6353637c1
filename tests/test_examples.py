"""The examples run as they are, in a directory of their own, and draw what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.picture import nearest_concept

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWN = {
    "text_to_image": {"red-apple.png": "red apple"},
    "image_to_image_and_inpainting": {"apple.png": "red apple", "blue-apple.png": None, "half-green-apple.png": None},
    "controlnet": {"star.png": None},
    "own_pipeline": {"blue-heart.png": "blue heart"},
    "any_module": {},
}


def test_these_are_all():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_it_runs_and_draws(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.png")} == set(SHOWN[name])
    for file, concept in SHOWN[name].items():
        with Image.open(tmp_path / file) as picture:
            assert picture.size == (64, 64)
            assert picture.convert("L").getextrema()[0] < 250, "nothing is drawn"
            if concept is not None:
                assert nearest_concept(picture) == concept
