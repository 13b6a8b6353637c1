"""Whether a picture shows what was asked: its nearest of the demo's 148 concepts, by pixels."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from streamer.models.demo import demo_concepts

SIDE = 64
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
