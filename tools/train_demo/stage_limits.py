"""When a stage that trains ends, how long it took, and what is drawn with."""

from __future__ import annotations

import json
from pathlib import Path

from .draw import GUIDANCE, STEPS
from .loop import Limits
from .settings import MINUTES, Settings


def limits(settings: Settings, stage: str) -> Limits:
    """The stage's limits, as the run was asked for."""
    return Limits(settings.minutes[stage], settings.steps)


def drawing(settings: Settings) -> tuple[int, float]:
    """Steps and guidance that the pipeline draws with if its user doesn't say."""
    return (2 if settings.small else STEPS), settings.guidance if settings.guidance is not None else GUIDANCE


def trained_minutes(work: Path) -> dict[str, float]:
    """Minutes that each stage trained so far, by its log."""
    result = {}
    for stage in MINUTES:
        log = work / f"{stage}.log.jsonl"
        if log.is_file():
            result[stage] = json.loads(log.read_text("utf-8").splitlines()[-1])["seconds"] / 60
    return result
