"""The model card: what it is, what it draws, what was measured, from what and how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .fetch import NAMES, PICTURES
from .settings import MINUTES, Settings
from .stage_limits import trained_minutes

_TITLES = {
    "own": "a thing by its name",
    "background": "on a plain background",
    "recoloured": "in another colour",
    "both": "in another colour on a plain background",
}


def write_card(pipeline: Path, measured: dict[str, Any], settings: Settings) -> None:
    """Writes ``MODEL_CARD.md`` beside the pipeline.

    Args:
        pipeline: its directory.
        measured: as in ``measured.json``.
        settings: of the run.
    """
    (settings.output / "MODEL_CARD.md").write_text(card(pipeline, measured, settings), "utf-8")


def card(pipeline: Path, measured: dict[str, Any], settings: Settings) -> str:
    """The card's text. See ``write_card``."""
    unet = json.loads((pipeline / "unet" / "config.json").read_text("utf-8"))
    nbytes = sum(path.stat().st_size for path in pipeline.rglob("*") if path.is_file())
    defaults = measured["defaults"]
    rows = "\n".join(
        f"| {_TITLES[kind]} | {score['asked']} | {score['named']} | {score['right']} | {score['rms']:.3f} |"
        for kind, score in measured["scores"].items()
    )
    minutes = trained_minutes(settings.work)
    trained = ", ".join(f"{stage} {minutes[stage]:.0f} min" for stage in MINUTES if stage in minutes) or "nothing"
    begun = (
        "" if settings.start_from is None else " What isn't named was taken over from the pipeline that it began with."
    )
    size = f"{defaults['width']} x {defaults['height']}"
    return f"""# Demo model card

A complete `StableDiffusionXLPipeline` in diffusers layout (float16, {nbytes / 1e6:.1f} MB): SDXL's architecture made
small, trained from nothing on flat emoji at {size} pixels. It exists so that the program can be tried, and tested end
to end, without a download. It is not a general picture model.

| | |
|---|---|
| U-Net | three levels ({", ".join(map(str, unet["block_out_channels"]))} channels), one transformer a level |
| text encoders | two layers each, 64 and 128 wide; byte-level BPE of 2,000 entries |
| VAE | 4 channels, factor 4 |
| scheduler | Euler with SDXL's betas, v-prediction |
| defaults | {defaults["steps"]} steps, guidance {defaults["guidance"]} (`pipeline/streamer.json`) |

**What it draws.** The things named in `concepts.txt`, also recoloured ("blue cat face") and on plain backgrounds
("star on yellow background"). Seeds change little. Nothing outside the list is supported.

**Measured** by `tools/train_demo.py --stages evaluate`, at the defaults:

| asked for | pictures | nearest of all concepts | colour and background too | RMS to what was asked |
|---|---|---|---|---|
{rows}

Wrong: {"; ".join(measured["wrong"]) or "none"}.

Farthest from their own pictures: {"; ".join(measured["farthest"])}.

**Data and licences.** Pictures: npm `{PICTURES.name}` {PICTURES.version}
({PICTURES.owner}, {PICTURES.licence}). Names and tags: npm `{NAMES.name}` {NAMES.version}
({NAMES.owner}, {NAMES.licence}). The weights are shipped under this project's licence.

**Recipe.** `tools/train_demo.py`, seed {settings.seed}. Trained: {trained}.{begun}
Pictures are rasterised with variants (white, eight plain backgrounds, up to seven colours). Both text encoders learn
first, to tell concepts, colours and backgrounds apart, then stay as they are. The U-Net learns v-prediction on latents,
more often on what it draws badly. Last, the decoder learns from latents that the U-Net draws.
"""
