"""Step time against budget as a picture: lines and marks, from no time upwards, with what each is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from streamer.config import format_size

MEASURED, PREDICTED, BOUND = "#59a14f", "#4e79a7", "#e15759"
MORE = ("#f28e2b", "#b07aa1", "#76b7b2", "#9c755f", "#edc948")
"""Colours for further series, one after the other."""

_WIDTH, _HEIGHT = 1200, 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 64, 60
_TICKS = 6
_MARK = 6
_HEADROOM = 1.1

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Series:
    """Seconds a step at some budgets.

    Attributes:
        name: for the legend; empty: it isn't there.
        colour: such as ``#59a14f``.
        points: budget in bytes and seconds, by ascending budget.
        marks: a dot at each point; else only a line.
    """

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    marks: bool = False


def draw_budgets(title: str, series: Sequence[Series]) -> Image.Image:
    """All series over the same axes: budgets from left to right, seconds a step upwards from 0.

    Args:
        title: one line.
        series: those that come later are drawn over the others; points that aren't finite are left out.
    """
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    shown = [[p for p in one.points if all(map(math.isfinite, p))] for one in series]
    points = [point for one in shown for point in one]
    least = min((x for x, _ in points), default=0.0)
    most = max((x for x, _ in points), default=1.0)
    across = max(most - least, 1.0)
    up = _HEADROOM * max((y for _, y in points), default=1.0) or 1.0

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return (
            _LEFT + (x - least) / across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / up * (_HEIGHT - _TOP - _BOTTOM),
        )

    _axes(draw, font, title, least, across, up)
    named = [one for one in series if one.name]
    apart = (_WIDTH - _LEFT) / max(5, len(named))
    for number, one in enumerate(named):
        x = _LEFT + 10 + number * apart
        draw.line((x, 46, x + 26, 46), one.colour, 3)
        draw.text((x + 34, 39), one.name, "black", font)
    for one, its in zip(series, shown, strict=True):
        places = [place(point) for point in its]
        if len(places) > 1:
            draw.line(places, one.colour, 3)
        if one.marks or len(places) == 1:
            for x, y in places:
                draw.ellipse((x - _MARK, y - _MARK, x + _MARK, y + _MARK), one.colour)
    return image


def _axes(draw: ImageDraw.ImageDraw, font: Font, title: str, least: float, across: float, up: float) -> None:
    draw.text((12, 12), title, "black", font)
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    for tick in range(_TICKS + 1):
        x = left + (right - left) * tick // _TICKS
        y = bottom - (bottom - top) * tick // _TICKS
        draw.line((x, top, x, bottom), "#eeeeee")
        draw.line((left, y, right, y), "#eeeeee")
        draw.text((x - 20, bottom + 10), format_size(least + across * tick / _TICKS), "black", font)
        draw.text((12, y - 6), f"{up * tick / _TICKS:.3g} s", "black", font)
    draw.line((left, bottom, right, bottom), "#888888")
    draw.line((left, top, left, bottom), "#888888")
    draw.text((left, bottom + 32), "budget of everything on the device; seconds a step upwards", "#555555", font)
