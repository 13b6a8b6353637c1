"""A few simple drawings, and what is learned from them: no network, no fetched pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.train_demo.drawings import rasterise, whole_svg

BODIES = {
    "red disc": '<circle cx="16" cy="16" r="12" fill="#f8312f"/>',
    "blue disc": '<circle cx="16" cy="16" r="12" fill="#0074ba"/>',
    "green box": '<rect x="5" y="5" width="22" height="22" fill="#00d26a"/>',
    "tent": '<path d="M16 4 L29 28 L3 28 Z" fill="#ffb02e"/>',
    "ghostly": '<circle cx="16" cy="14" r="10" fill="#ffffff" stroke="#222222"/>',
}
NAMES = tuple(BODIES)


def write_drawings(folder: Path) -> Path:
    """Writes them as SVG files, each under its name."""
    folder.mkdir()
    for name, body in BODIES.items():
        (folder / f"{name}.svg").write_text(whole_svg(body))
    return folder


def pixels() -> np.ndarray:
    """Their pictures, in the order of ``NAMES``."""
    return rasterise({name: whole_svg(body) for name, body in BODIES.items()})
