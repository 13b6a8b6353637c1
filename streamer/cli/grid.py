"""``--grid``: a contact sheet of all pictures of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from streamer.cli.pictures import PictureNames, save_whole
from streamer.errors import ImageFileError, SettingError
from streamer.models.user_path import user_path

AUTO = "auto"
_GAP = 4  # pixels
_LARGEST_PIXELS = 1 << 26
_BACKGROUND = "white"


class GridName:
    """Where the sheet will be; what can't work is told before anything is drawn.

    Args:
        wanted: a PNG file, which is replaced if it is there; or ``auto``: a new one beside the pictures.
        folder: of the pictures.

    Raises:
        SettingError: nothing can be written there.
    """

    def __init__(self, wanted: str, folder: Path) -> None:
        self._folder = folder
        self._names = None if wanted == AUTO else PictureNames(wanted, 1)
        if wanted != AUTO and (wanted.endswith(("/", "\\")) or user_path(wanted).is_dir()):
            raise SettingError(f"--grid {wanted} is a folder.", "Give a file such as grid.png, or auto.")

    def path(self) -> Path:
        """Of the sheet."""
        if self._names is not None:
            return self._names.next("grid", 0)
        path, number = self._folder / "grid.png", 1
        while path.exists():
            number += 1
            path = self._folder / f"grid-{number}.png"
        return path


def save_grid(pictures: Sequence[Path], path: Path) -> None:
    """Writes a sheet of the pictures, row by row in their order; the file is either whole or not there.

    Args:
        pictures: at least one, each readable.
        path: of the PNG.

    Raises:
        ImageFileError: one of the pictures can't be read.
    """
    sizes = []
    for picture in pictures:
        with _opened(picture) as opened:
            sizes.append(opened.size)
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    scale = min(1.0, math.sqrt(_LARGEST_PIXELS / (columns * width * rows * height)))
    cell = (max(1, int(width * scale)), max(1, int(height * scale)))
    sheet = Image.new("RGB", (columns * (cell[0] + _GAP) + _GAP, rows * (cell[1] + _GAP) + _GAP), _BACKGROUND)
    for number, picture in enumerate(pictures):
        with _opened(picture) as opened:
            small = opened.convert("RGB")
        if scale < 1:
            small.thumbnail(cell, Image.Resampling.LANCZOS)
        left, top = (
            (n * (side + _GAP) + _GAP) for n, side in zip((number % columns, number // columns), cell, strict=True)
        )
        sheet.paste(small, (left + (cell[0] - small.width) // 2, top + (cell[1] - small.height) // 2))
    info = PngInfo()
    info.add_itxt("streamer", json.dumps({"pictures": [picture.name for picture in pictures]}, ensure_ascii=False))
    save_whole(sheet, path, info)


@contextmanager
def _opened(picture: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(picture) as opened:
            yield opened
    # SyntaxError: what Pillow says of a broken PNG.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageFileError(
            str(picture),
            f"it is no picture that can be read, so no sheet was made ({type(error).__name__}).",
            "Delete it and run the same again: it alone is drawn anew.",
        ) from error
