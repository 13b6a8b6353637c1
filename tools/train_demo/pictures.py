"""The stage that has pictures and words ready: fetched, drawn, and read back by the stages after it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .drawings import fetch_drawings, rasterise, read_sheet, save_sheet
from .progress import tell
from .settings import Settings, StageOrderError
from .words import Words, fetch_labels, fetch_words, words

CONCEPTS = Path(__file__).parents[2] / "streamer" / "models" / "demo" / "concepts.txt"


@dataclass(frozen=True)
class Pictures:
    """All that is learned from.

    Attributes:
        words: of each concept.
        pixels: [concepts, SIDE, SIDE, 4], with alpha.
        labels: names of these and many other things: how English words are spelled.
    """

    words: tuple[Words, ...]
    pixels: npt.NDArray[np.uint8]
    labels: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the concepts."""
        return tuple(word.name for word in self.words)


def make_pictures(settings: Settings) -> None:
    """Fetches and draws all concepts, or those of a folder of SVGs. Raises FetchError, RasteriserMissingError."""
    if settings.drawings is not None:
        paths = sorted(settings.drawings.glob("*.svg"))
        drawings = {path.stem: path.read_text("utf-8") for path in paths}
        said, labels = words(tuple(drawings), {}, {}), tuple(drawings)
    else:
        concepts = CONCEPTS.read_text("utf-8").splitlines()
        archives = settings.work / "packages"
        drawings = fetch_drawings(concepts, archives)
        said, labels = fetch_words(concepts, archives), fetch_labels(archives)
    save_sheet(rasterise(drawings), settings.work / "pictures.png")
    text = json.dumps([asdict(word) for word in said], indent=1)
    (settings.work / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
    (settings.work / "words.json").write_text(text, "utf-8")
    tell(f"pictures: {len(drawings)} drawn")


def read_pictures(settings: Settings) -> Pictures:
    """What ``make_pictures`` made. Raises StageOrderError."""
    path = settings.work / "words.json"
    if not path.is_file():
        raise StageOrderError("There are no pictures yet: run the stage 'pictures' before.")
    said = tuple(
        Words(entry["name"], tuple(entry["others"]), tuple(entry["tags"])) for entry in json.loads(path.read_text())
    )
    labels = tuple((settings.work / "labels.txt").read_text("utf-8").splitlines())
    return Pictures(said, read_sheet(settings.work / "pictures.png", len(said)), labels)
