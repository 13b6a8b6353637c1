"""Whether a picture shows what was asked: the demo's own measure, with its concepts as they were taught."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from streamer.models.demo import demo_concepts
from tools.train_demo.captions import Variant, render
from tools.train_demo.colours import on_background
from tools.train_demo.drawings import read_sheet
from tools.train_demo.evaluate import distance as pixel_distance
from tools.train_demo.evaluate import judge

SIDE = 64
MOST = 0.13  # a picture's distance to what was asked for: 0.04 on average, 0.11 the farthest of 268
_SHEET = Path(__file__).parent / "data" / "demo" / "references.png"


@cache
def drawings() -> np.ndarray:
    """Each concept's own picture with its transparency, 148 x 64 x 64 x 4 bytes."""
    return read_sheet(_SHEET, len(demo_concepts()))


@cache
def references() -> dict[str, np.ndarray]:
    """Each concept's own picture on white, 64 x 64 x 3, 0 to 1."""
    return {concept: on_background(picture) for concept, picture in zip(demo_concepts(), drawings(), strict=True)}


def as_pixels(picture: Image.Image) -> np.ndarray:
    """Height x width x 3, 0 to 1."""
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def picture_of(concept: str, colour: str | None = None, background: str = "white") -> Image.Image:
    """What the demo was taught that a concept looks like."""
    variant = Variant(demo_concepts().index(concept), colour, background)
    return Image.fromarray((render(variant, drawings()) * 255).round().astype(np.uint8))


def distance(picture: Image.Image, concept: str) -> float:
    """Root mean square difference of all pixels to the concept's own picture, 0 to 1."""
    return pixel_distance(as_pixels(picture), references()[concept])


def nearest_concept(picture: Image.Image) -> str:
    """The concept whose picture is nearest."""
    return min(references(), key=lambda concept: distance(picture, concept))


def assert_shows(picture: Image.Image, concept: str, colour: str | None = None, background: str = "white") -> None:
    """Passes only if nothing is nearer than what was asked for, and that is near: grey is nearest to something too.

    Args:
        picture: 64 x 64 pixels.
        concept: that it should show.
        colour: that the concept was asked for in; None: its own.
        background: that was asked for.
    """
    names = demo_concepts()
    asked = Variant(names.index(concept), colour, background)
    verdict = judge(as_pixels(picture), asked, names, drawings())
    look = f"{verdict.look.colour or 'its own colour'} on {verdict.look.background}"
    told = f"asked for {concept!r} ({verdict.rms:.3f} away), nearest is {names[verdict.concept]!r}, in {look}"
    assert verdict.right, told
    assert verdict.rms < MOST, f"nothing like it: {told}; at most {MOST}"
