"""Pictures on disk: their names, what is written into them, and that none is ever half there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.PngImagePlugin import PngInfo

from streamer.errors import SettingError
from streamer.models.user_path import user_path

if TYPE_CHECKING:
    from PIL.Image import Image

    from streamer.models.pipeline import Request

_SLUG_LENGTH = 40


def slug(prompt: str) -> str:
    """The prompt as a part of a file name: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_SLUG_LENGTH].strip("-") or "picture"


class PictureNames:
    """Gives each picture its path. A name chosen here is never one that exists; one chosen by the user may be.

    Args:
        output: a file, a directory (existing, or written with a slash at the end), or None for the current one.
        count: of pictures to come; more than one file in ``output`` is numbered. None if that isn't known: all are.
    """

    def __init__(self, output: str | None, count: int | None) -> None:
        self._number = 0
        self._count = count
        self._file: Path | None = None
        self._folder = Path()
        if output is not None:
            path = user_path(output)
            if path.is_dir() or output.endswith(("/", os.sep)):
                self._folder = path
            elif path.suffix.lower() not in (".png", ""):
                raise SettingError(f"Pictures are written as PNG, not as {path.suffix}.", f"Try {path.stem}.png.")
            else:
                self._file = path if path.suffix else path.with_name(path.name + ".png")
                self._folder = path.parent
        there = self._folder.absolute()
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise SettingError(f"{there} is a file, so nothing can be written below it.", "Use another --output.")
        if not os.access(there, os.W_OK):
            raise SettingError(f"Nothing can be written to {there}.", "Use another --output.")

    @property
    def folder(self) -> Path:
        """Of the pictures; it may not exist yet."""
        return self._folder

    def next(self, prompt: str, seed: int) -> Path:
        """The next picture's path; its folder exists."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        if self._file is not None:
            if self._count == 1:
                return self._file
            return self._file.with_name(f"{self._file.stem}-{self._number}{self._file.suffix}")
        stem = f"{slug(prompt)}-{seed}" if self._count is not None else f"{self._number}-{slug(prompt)}-{seed}"
        path = self._folder / f"{stem}.png"
        again = 1
        while path.exists():
            again += 1
            path = self._folder / f"{stem}-{again}.png"
        return path


def save(image: Image, path: Path, request: Request, made_with: Mapping[str, Any]) -> None:
    """Writes the picture with what it was made from; a file of this name is either whole or not there.

    The metadata names what determines the picture and nothing else: the same picture is the same file, whatever the
    budget.
    """
    info = PngInfo()
    info.add_itxt("prompt", request.prompt)
    settings = request.settings() | dict(made_with)
    info.add_itxt("streamer", json.dumps(settings, ensure_ascii=False, sort_keys=True))
    save_whole(image, path, info)


def save_whole(image: Image, path: Path, info: PngInfo) -> None:
    """Writes the picture as PNG; a file of this name is either whole or not there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        image.save(partial, format="PNG", pnginfo=info)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
