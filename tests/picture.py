"""Whether a picture shows what was asked: its nearest of the demo's 148 concepts, by pixels."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from streamer.models.demo import demo_concepts

SIDE = 64
MOST = 0.2  # a picture's distance to its own concept: 0.12 on average, 0.39 to others
_SHEET = Path(__file__).parent / "data" / "demo" / "references.png"


@cache
def references() -> dict[str, np.ndarray]:
    """Each concept's own picture, 64 x 64 x 3, 0 to 1."""
    with Image.open(_SHEET) as sheet:
        pixels = np.asarray(sheet.convert("RGB"), np.float32) / 255
    columns = pixels.shape[1] // SIDE
    return {
        concept: pixels[i // columns * SIDE :, i % columns * SIDE :][:SIDE, :SIDE]
        for i, concept in enumerate(demo_concepts())
    }


def distance(picture: Image.Image, concept: str) -> float:
    """Root mean square difference of all pixels to the concept's own picture, 0 to 1."""
    pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return float(np.sqrt(np.mean((pixels - references()[concept]) ** 2)))


def nearest_concept(picture: Image.Image) -> str:
    """The concept whose picture is nearest."""
    return min(references(), key=lambda concept: distance(picture, concept))


def assert_shows(picture: Image.Image, concept: str) -> None:
    """Passes only if the concept is the nearest of the 148, and near: something grey is nearest to something too."""
    nearest = nearest_concept(picture)
    far = distance(picture, concept)
    told = f"asked for {concept!r} ({far:.3f} away), nearest is {nearest!r} ({distance(picture, nearest):.3f})"
    assert nearest == concept, told
    assert far < MOST, f"nothing like it: {told}; at most {MOST}"
