"""Variants of a drawing: another colour, a plain background."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

HUES = {"red": 0, "orange": 25, "yellow": 48, "green": 130, "blue": 215, "purple": 270, "pink": 325}
"""What a thing can be recoloured to: hue in degrees."""
BACKGROUNDS = {
    "red": (240, 64, 60),
    "orange": (255, 165, 40),
    "yellow": (255, 230, 70),
    "green": (50, 200, 100),
    "blue": (47, 127, 245),
    "purple": (155, 89, 220),
    "pink": (255, 161, 199),
    "black": (26, 26, 30),
}
"""Plain backgrounds besides white: red, green, blue of 0 to 255."""
WHITE = (255, 255, 255)
_OWN = 18  # degrees: a thing this near to a colour has it already
_TURNED = 60  # degrees: hues this near to the main one turn with it; leaves of a blue apple stay green
_PEAK = 20  # degrees: what counts as one hue when the main one is sought
_COLOURED = 0.3  # saturation and value of what counts as coloured, 0 to 1
_AREA = 0.3  # of what is visible: less and the thing has no colour to change
_VISIBLE = 0.09  # root mean square change of all pixels, 0 to 1: less is hardly seen
_MAIN = 0.6  # of what is coloured: less within what would turn and the thing has no one colour


def main_hue(picture: npt.NDArray[np.uint8]) -> float | None:
    """The hue that most of a thing has, in degrees; None if it is grey, or of many colours.

    Args:
        picture: [height, width, 4], as from ``rasterise``.
    """
    return _main_hue(picture.tobytes(), picture.shape)


@lru_cache(1024)
def _main_hue(data: bytes, shape: tuple[int, ...]) -> float | None:
    picture = np.frombuffer(data, np.uint8).reshape(shape)
    hsv = _as_hsv(picture).astype(np.float64) / 255
    visible = picture[..., 3] / 255.0
    coloured = visible * (hsv[..., 1] > _COLOURED) * (hsv[..., 2] > _COLOURED)
    if coloured.sum() < _AREA * visible.sum():
        return None
    hues, weights = hsv[..., 0] * 360, coloured * hsv[..., 1]
    sought = [float(hue) for hue in range(0, 360, 5)]
    near = [(weights * (_apart(hues, hue) <= _PEAK)).sum() for hue in sought]
    peak = sought[int(np.argmax(near))]
    if (weights * (_apart(hues, peak) <= _TURNED)).sum() < _MAIN * weights.sum():
        return None
    within = weights * (_apart(hues, peak) <= _PEAK)
    return float(np.degrees(np.angle(np.sum(within * np.exp(1j * np.radians(hues))))) % 360)


def _as_hsv(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Hue, saturation and value, each 0 to 255: [height, width, 3]."""
    return np.asarray(Image.fromarray(picture[..., :3].copy()).convert("HSV"))


def _apart(hues: npt.NDArray[np.float64], hue: float) -> npt.NDArray[np.float64]:
    """Degrees between hues, 0 to 180."""
    apart: npt.NDArray[np.float64] = np.abs((hues - hue + 180) % 360 - 180)
    return apart


def colours_for(picture: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """The colours that a thing can be given: not the one it has, and none where one would hardly see it."""
    own = main_hue(picture)
    if own is None:
        return ()
    return tuple(
        name
        for name, hue in HUES.items()
        if _apart(np.array(own), hue) > _OWN and _change(picture, recoloured(picture, name)) > _VISIBLE
    )


def _change(picture: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Root mean square difference on white, 0 to 1."""
    return float(np.sqrt(np.mean((on_background(picture) - on_background(other)) ** 2)))


def recoloured(picture: npt.NDArray[np.uint8], colour: str) -> npt.NDArray[np.uint8]:
    """The picture with its main hue, and those near to it, turned so that the main one is the colour's.

    Args:
        picture: [height, width, 4], with a main hue.
        colour: of ``HUES``.
    """
    own = main_hue(picture)
    if own is None:
        raise ValueError("a picture without a main hue can't be recoloured")
    hsv = _as_hsv(picture).copy()
    turn = np.uint8(round((HUES[colour] - own) / 360 * 256) % 256)
    turned = _apart(hsv[..., 0].astype(np.float64) * (360 / 256), own) <= _TURNED
    hsv[..., 0] += turn * turned.astype(np.uint8)
    rgb = np.asarray(Image.frombytes("HSV", (hsv.shape[1], hsv.shape[0]), hsv.tobytes()).convert("RGB"))
    return np.concatenate([rgb, picture[..., 3:]], axis=2)


def on_background(picture: npt.NDArray[np.uint8], background: str = "white") -> npt.NDArray[np.float32]:
    """The picture without transparency: [height, width, 3], 0 to 1.

    Args:
        picture: [height, width, 4].
        background: ``white`` or one of ``BACKGROUNDS``.
    """
    behind = np.array(BACKGROUNDS.get(background, WHITE)) / 255
    alpha = picture[..., 3:] / 255
    return (picture[..., :3] / 255 * alpha + behind * (1 - alpha)).astype(np.float32)
