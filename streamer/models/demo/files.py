"""Where the demo's files lie within the package."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
UNET_SHA256 = "480a2f30871ed9ff5007837057a18f8e65cc60a2bcaa6c70504008694d79d0bd"
"""Of the packaged U-Net's weights."""


def demo_directory() -> Path:
    """The directory of the demo's whole pipeline in diffusers layout; part of the package, not to be written to."""
    return _HERE / "pipeline"


def demo_concepts() -> tuple[str, ...]:
    """The names of the 148 things that the demo can draw, each usable as a prompt; in a fixed order."""
    return tuple((_HERE / "concepts.txt").read_text("utf-8").splitlines())
