"""Spans of one step as a picture: a lane each for disk, decode, upload and compute, time from left to right."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from streamer.runtime.spans import Lane, Span

_LANES = (Lane.DISK, Lane.DECODE, Lane.UPLOAD, Lane.COMPUTE)
_COLOURS = {
    Lane.DISK: ("#4e79a7", "#7fa3c7"),
    Lane.DECODE: ("#f28e2b", "#f7b876"),
    Lane.UPLOAD: ("#76b7b2", "#a5d3cf"),
    Lane.COMPUTE: ("#59a14f", "#8cc384"),
    Lane.WAIT: ("#e15759", "#e15759"),
}
_WIDTH, _LEFT, _RIGHT, _TOP = 1600, 190, 20, 56
_ROW, _GAP, _BOTTOM = 44, 14, 44
_TICKS = 10


def busiest_step(spans: Sequence[Span]) -> int:
    """The last whole step but the first, which loads everything; the first if there is no other; 0 without any."""
    steps = sorted({span.step for span in spans if span.lane is Lane.COMPUTE})
    if not steps:
        return 0
    return steps[-1] if len(steps) < 3 else steps[-2]


def draw_timeline(spans: Sequence[Span], step: int) -> Image.Image:
    """The step's spans; lanes with several threads have a row for each. Red on the compute's row is waiting.

    Args:
        spans: of all steps: what was loaded for this one may have ended in it or begun before.
        step: number of the forward, as the compute's spans have it.
    """
    own = [span for span in spans if span.step == step and span.lane in (Lane.COMPUTE, Lane.WAIT)]
    start = min((span.start for span in own), default=0.0)
    end = max((span.end for span in own), default=start + 1.0)
    shown = [span for span in spans if span.end > start and span.start < end]
    rows = _rows(shown)
    height = _TOP + len(rows) * (_ROW + _GAP) + _BOTTOM
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    seconds = max(end - start, 1e-9)
    scale = (_WIDTH - _LEFT - _RIGHT) / seconds
    _title(draw, font, shown, own, step, seconds)
    for number, (lane, thread) in enumerate(rows):
        top = _TOP + number * (_ROW + _GAP)
        lanes = (Lane.COMPUTE, Lane.WAIT) if lane is Lane.COMPUTE else (lane,)
        several = sum(1 for other, _ in rows if other is lane) > 1
        draw.text((12, top + 14), f"{lane.value} {thread.rsplit('-', 1)[-1]}" if several else lane.value, "black", font)
        draw.rectangle((_LEFT, top, _WIDTH - _RIGHT, top + _ROW), "#f2f2f2")
        mine = [span for span in shown if span.lane in lanes and span.thread == thread]
        for index, span in enumerate(sorted(mine, key=lambda s: s.start)):
            left = _LEFT + (max(span.start, start) - start) * scale
            right = _LEFT + (min(span.end, end) - start) * scale
            if right - left >= 0.5 or span.lane is not Lane.WAIT:
                draw.rectangle((left, top, max(right - 1, left), top + _ROW), _COLOURS[span.lane][index % 2])
    _axis(draw, font, height - _BOTTOM + 6, seconds)
    return image


def _rows(spans: Sequence[Span]) -> list[tuple[Lane, str]]:
    found = {(span.lane, span.thread) for span in spans if span.lane in _LANES}
    return sorted(found, key=lambda row: (_LANES.index(row[0]), row[1]))


def _title(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    shown: Sequence[Span],
    own: Sequence[Span],
    step: int,
    seconds: float,
) -> None:
    waited = sum(span.end - span.start for span in own if span.lane is Lane.WAIT)
    read = sum(span.nbytes for span in shown if span.lane is Lane.DISK)
    text = f"step {step}: {seconds:.3g} s, waiting {waited / seconds:.1%} (red), {read / 1e6:,.0f} MB read"
    draw.text((12, 18), text, "black", font)


def _axis(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, y: int, seconds: float
) -> None:
    width = _WIDTH - _LEFT - _RIGHT
    for tick in range(_TICKS + 1):
        x = _LEFT + width * tick // _TICKS
        draw.line((x, _TOP - 6, x, y), "#cccccc")
        draw.text((x - 14, y + 6), f"{seconds * tick / _TICKS:.3g} s", "black", font)
