"""Where the demo's files lie within the package."""

from __future__ import annotations

import json
from pathlib import Path

_HERE = Path(__file__).resolve().parent
UNET_SHA256 = "5ae513f1eb1c93aeddd4fdb8d9f951616dd7ee95da74f69c8a9de5abe167447a"
"""Of the packaged U-Net's weights."""


def demo_directory() -> Path:
    """The directory of the demo's whole pipeline in diffusers layout; part of the package, not to be written to."""
    return _HERE / "pipeline"


def demo_concepts() -> tuple[str, ...]:
    """The names of the 148 things that the demo can draw, each usable as a prompt; in a fixed order."""
    return tuple((_HERE / "concepts.txt").read_text("utf-8").splitlines())


def demo_other_names() -> dict[str, tuple[str, ...]]:
    """Other names that the demo was taught, by concept: ``coffee`` for ``hot beverage``."""
    names = json.loads((_HERE / "words.json").read_text("utf-8"))
    return {concept: tuple(others) for concept, others in names.items()}
