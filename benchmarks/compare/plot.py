"""A result as a picture: a step's time by the resident one's, against peak memory; an SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.compare.summary import Row, peak_of
from benchmarks.compare.table import is_on_device, size

WIDTH, LINE = 960, 20
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 70, 30, 430, 360
COLOURS = {"resident": "#555555", "peer": "#d1495b", "this project": "#00798c"}
_STEPS = (1, 2, 5)


def plot(result: Mapping[str, Any]) -> str:
    """The SVG's text. Numbered points, names beside; left and low is better."""
    rows = [Row.from_json(told) for told in result["rows"]]
    on_device = is_on_device(result)
    rows = [row for row in rows if row.against_resident is not None and (peak_of(row, on_device) or 0) > 0]
    memory = [float(peak_of(row, on_device) or 0) for row in rows]
    times = [row.against_resident.median for row in rows if row.against_resident is not None]
    if not rows:
        return _svg(TOP + 20, [])
    across = _axis(memory, LEFT, LEFT + PLOT_WIDTH)
    up = _axis(times, TOP + PLOT_HEIGHT, TOP)
    where = "on the device" if on_device else "of the process"
    parts = [
        *(_vertical(across(tick), size(tick)) for tick in _ticks(memory)),
        *(_horizontal(up(tick), f"{tick:g}") for tick in _ticks(times)),
        f'<rect x="{LEFT}" y="{TOP}" width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}" fill="none" stroke="#999"/>',
        _text(LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 42, f"peak memory {where}", anchor="middle"),
        _text(LEFT, TOP - 12, "time of a step, resident = 1"),
    ]
    for number, (row, x, y) in enumerate(zip(rows, memory, times, strict=True), 1):
        spread = row.against_resident
        assert spread is not None
        colour = COLOURS[row.kind]
        parts += [
            f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{up(spread.low):.1f}" y2="{up(spread.high):.1f}" '
            f'stroke="{colour}" stroke-opacity="0.5"/>',
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="8" fill="{colour}" fill-opacity="0.9"/>',
            _text(across(x), up(y) + 3.5, str(number), anchor="middle", colour="#ffffff", pixels=10),
            _text(LEFT + PLOT_WIDTH + 24, TOP + 10 + LINE * (number - 1), f"{number}  {row.name}", colour=colour),
        ]
    return _svg(max(TOP + PLOT_HEIGHT + 60, TOP + 20 + LINE * len(rows)), parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">'
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


def _axis(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Logarithmic, with a little room on both sides."""
    low, high = math.log(min(values)) - 0.15, math.log(max(values)) + 0.15
    return lambda value: start + (math.log(value) - low) / (high - low) * (end - start)


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from the least to the most, at most about six."""
    low, high = min(values) * 0.9, max(values) * 1.1
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**exponent for exponent in exponents for step in _STEPS]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks or [values[0]]


def _vertical(x: float, name: str) -> str:
    bottom = TOP + PLOT_HEIGHT
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#eeeeee"/>'
    return line + _text(x, bottom + 18, name, anchor="middle")


def _horizontal(y: float, name: str) -> str:
    line = f'<line x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eeeeee"/>'
    return line + _text(LEFT - 8, y + 4, name, anchor="end")


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#333333", pixels: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{pixels}">'
        f"{escape(text)}</text>"
    )
