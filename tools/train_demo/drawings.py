"""Drawings of concepts: where they come from, and as pixels."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .fetch import PICTURES, fetch, read_json

SIDE = 64
"""Pixels of a picture's side."""
_OTHER_NAMES = {"red triangle pointed up": "red-triangle"}


class RasteriserMissingError(RuntimeError):
    """resvg-py isn't installed."""


def fetch_drawings(concepts: Sequence[str], folder: Path) -> dict[str, str]:
    """Each concept's drawing as SVG, in the order given. Raises FetchError."""
    icons = read_json(fetch(PICTURES, folder), "icons.json")
    return {concept: whole_svg(icons["icons"][icon_name(concept)]["body"]) for concept in concepts}


def icon_name(concept: str) -> str:
    """The name that the package of drawings has for a concept."""
    return _OTHER_NAMES.get(concept, concept.replace(" ", "-"))


def whole_svg(body: str, view: int = 32) -> str:
    """An SVG of ``SIDE`` pixels around a drawing made for a square of ``view``."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {view} {view}" width="{SIDE}" height="{SIDE}">'
    return f"{head}{body}</svg>"


def rasterise(drawings: Mapping[str, str]) -> npt.NDArray[np.uint8]:
    """All drawings as pixels: [drawings, SIDE, SIDE, 4], red, green, blue (not premultiplied) and alpha.

    Raises:
        RasteriserMissingError: resvg-py isn't installed.
    """
    if importlib.util.find_spec("resvg_py") is None:
        raise RasteriserMissingError("resvg-py isn't installed: pip install resvg-py==0.5.0")
    import resvg_py

    pictures = []
    for svg in drawings.values():
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
        with Image.open(io.BytesIO(bytes(png))) as image:
            pictures.append(np.asarray(image.convert("RGBA")))
    return np.stack(pictures)


def save_sheet(pictures: npt.NDArray[np.uint8], path: Path, columns: int = 16) -> None:
    """Writes a PNG of tiles in rows, transparent where the drawings are. The same input gives the same file.

    Args:
        pictures: as from ``rasterise``.
        path: of the PNG.
        columns: tiles in a row.
    """
    sheet = Image.new("RGBA", (columns * SIDE, -(-len(pictures) // columns) * SIDE))
    for i, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (i % columns * SIDE, i // columns * SIDE))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def read_sheet(path: Path, count: int) -> npt.NDArray[np.uint8]:
    """The tiles that ``save_sheet`` wrote: [count, SIDE, SIDE, 4]."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGBA"))
    columns = pixels.shape[1] // SIDE
    corners = [(i // columns * SIDE, i % columns * SIDE) for i in range(count)]
    return np.stack([pixels[y : y + SIDE, x : x + SIDE] for y, x in corners])
