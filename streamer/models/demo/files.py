"""Where the demo's files lie within the package."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def demo_directory() -> Path:
    """The demo's pipeline in diffusers layout."""
    return _HERE / "pipeline"


def demo_concepts() -> tuple[str, ...]:
    """The names of the things that the demo can draw."""
    return tuple((_HERE / "concepts.txt").read_text("utf-8").split("\n")[:-1])
