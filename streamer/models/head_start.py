"""Reads weights while libraries are imported, which takes seconds of one processor and none of the storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

from streamer.errors import WeightsFileError
from streamer.models.weight_files import diffusers_files, files_of_folder
from streamer.sources.read_ahead import ReadAhead


def head_start(
    weights: str | Path | None, model: str | Path | None = None, spill: str | Path | None = None
) -> ReadAhead:
    """While it is open, the U-Net's weights come into the system's page cache; a context manager, imports no library.

    It reads from the file's beginning, which is what a first step wants first, and no more than half of the memory that
    is free: the page cache gives that back when anything needs it. Around importing and opening, not around drawing.
    What can't be found or read is passed over: opening it tells why.

    Args:
        weights: file, or folder of safetensors; None: the model's own.
        model: directory in diffusers layout; anything else has no weights of its own on this machine, as far as known.
        spill: folder for decoded weights: if there are some, most of the weight file won't be read.
    """
    paths = () if spill is not None and _has_decoded(Path(spill)) else _files(weights, model)
    return ReadAhead(paths, psutil.virtual_memory().available // 2)


def _files(weights: str | Path | None, model: str | Path | None) -> Sequence[Path]:
    try:
        if weights is None:
            return () if model is None else diffusers_files(Path(model) / "unet")
        path = Path(weights)
        return files_of_folder(path) if path.is_dir() else (path,)
    except (OSError, ValueError, WeightsFileError):
        return ()  # told when they are opened


def _has_decoded(folder: Path) -> bool:
    try:
        return any(folder.glob("*.safetensors"))
    except (OSError, ValueError):
        return False
