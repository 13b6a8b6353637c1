"""The stage that draws with the finished pipeline at its own defaults, measures, and writes grid, numbers and card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .captions import prompt
from .card import write_card
from .draw import draw, load_pipeline
from .drawings import SIDE
from .evaluate import Verdict, judge, questions, scores
from .pictures import Pictures, read_pictures
from .progress import tell
from .settings import Settings, StageOrderError

_COLUMNS = 16
_AT_ONCE = 8
_WORST = 12


def measure(settings: Settings) -> None:
    """Draws and measures; into ``measured.json``, ``grid.png`` and ``MODEL_CARD.md``. Raises StageOrderError."""
    pictures = read_pictures(settings)
    folder = settings.pipeline if settings.pipeline.is_dir() else settings.start_from
    if folder is None:
        raise StageOrderError("There is no pipeline yet: run the stage 'pipeline' before, or give --start-from.")
    defaults = json.loads((folder / "streamer.json").read_text("utf-8"))
    asked = questions(pictures.names, pictures.pixels, settings.seed, settings.prompts)
    prompts = [prompt(variant, pictures.words) for variant in asked]
    pipeline = load_pipeline(folder, settings.device)
    drawn: list[np.ndarray] = []
    for begin in range(0, len(asked), _AT_ONCE):
        seeds = [settings.seed + number for number in range(begin, min(begin + _AT_ONCE, len(asked)))]
        some = prompts[begin : begin + _AT_ONCE]
        drawn += list(draw(pipeline, some, seeds, defaults["steps"], defaults["guidance"], _AT_ONCE))
        tell(f"evaluate: {len(drawn)} of {len(asked)} drawn")
    verdicts = [
        judge(picture, variant, pictures.names, pictures.pixels) for picture, variant in zip(drawn, asked, strict=True)
    ]
    measured = as_numbers(verdicts, prompts, pictures, defaults)
    settings.output.mkdir(parents=True, exist_ok=True)
    (settings.output / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    save_grid(drawn, settings.output / "grid.png")
    write_card(folder, measured, settings)
    for kind, score in measured["scores"].items():
        shown = f"nearest is the concept for {score['named']} of {score['asked']}, and its look for {score['right']}"
        tell(f"evaluate: {kind}: {shown}; RMS {score['rms']:.3f}")
    tell(f"evaluate: wrong: {'; '.join(measured['wrong']) or 'none'}")
    tell(f"evaluate: farthest from their own pictures: {'; '.join(measured['farthest'])}")


def as_numbers(
    verdicts: Sequence[Verdict], prompts: Sequence[str], pictures: Pictures, defaults: dict[str, Any]
) -> dict[str, Any]:
    """What was measured, as JSON has it.

    Args:
        verdicts: of each picture.
        prompts: that were asked.
        pictures: with the names.
        defaults: what was drawn with.
    """
    pairs = list(zip(verdicts, prompts, strict=True))
    farthest = sorted(pairs, key=lambda pair: -pair[0].rms)[:_WORST]
    return {
        "defaults": defaults,
        "scores": {
            kind: {
                "asked": score.asked,
                "named": score.named,
                "right": score.right,
                "share": round(score.share, 4),
                "rms": round(score.rms, 4),
            }
            for kind, score in scores(verdicts).items()
        },
        "wrong": [f"{text} ({_shown(verdict, pictures)})" for verdict, text in pairs if not verdict.right],
        "farthest": [f"{text} ({verdict.rms:.3f})" for verdict, text in farthest],
    }


def _shown(verdict: Verdict, pictures: Pictures) -> str:
    if verdict.concept != verdict.asked.concept:
        return f"nearest is {pictures.names[verdict.concept]}"
    return f"nearest is {prompt(verdict.look, pictures.words)}"


def save_grid(drawn: Sequence[np.ndarray], path: Path) -> None:
    """All pictures in rows.

    Args:
        drawn: each [height, width, 3], 0 to 1.
        path: of the PNG.
    """
    sheet = Image.new("RGB", (_COLUMNS * SIDE, -(-len(drawn) // _COLUMNS) * SIDE), "white")
    for i, picture in enumerate(drawn):
        tile = Image.fromarray((picture * 255).round().astype(np.uint8))
        sheet.paste(tile, (i % _COLUMNS * SIDE, i // _COLUMNS * SIDE))
    sheet.save(path, optimize=True)
