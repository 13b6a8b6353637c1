"""Reads weights while libraries are imported, which takes seconds of one processor and none of the storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamer.available_memory import available_nbytes
from streamer.errors import WeightsFileError
from streamer.models.weight_files import diffusers_files, files_of_folder
from streamer.processors import processors
from streamer.tiers.read_ahead import ReadAhead

Name = str | Path | None


def head_start(weights: Name, model: Name = None, base: Name = None, spill: Name = None) -> ReadAhead:
    """While it is open, the U-Net's weights come into the system's page cache; a context manager.

    Made without any large library: it is for the time in which these are imported and a model is opened. It reads from
    the file's beginning, and no more than half of the memory that is free: the page cache gives that back when anything
    needs it. (A single-file checkpoint begins with its other parts.) What can't be found or read is passed over:
    opening it tells why. With one processor nothing is read: importing wants it itself. The arguments are those of
    `load_unet` and ``streamer gen``.

    Args:
        weights: file, or folder of safetensors; None: the base, else the model's own.
        model: directory in diffusers layout; anything else has no weights of its own on this machine, as far as known.
        base: file or folder of safetensors, or a whole model.
        spill: folder for decoded weights: if there are some, of whatever file, they are taken for this one's, of which
            then little will be read.
    """
    needless = processors() < 2 or (spill is not None and _has_decoded(Path(spill)))
    paths = () if needless else _files(weights, model, base)
    return ReadAhead(paths, available_nbytes() // 2)


def _files(weights: Name, model: Name, base: Name) -> Sequence[Path]:
    """Of the first that is given; a folder of a whole model has its U-Net's weights in one of its own."""
    given = next((name for name in (weights, base, model) if name is not None), None)
    if given is None:
        return ()
    try:
        path = Path(given).expanduser()
        if (path / "model_index.json").is_file():
            return diffusers_files(path / "unet")
        return files_of_folder(path) if path.is_dir() else (path,)
    except (OSError, ValueError, RuntimeError, WeightsFileError):  # RuntimeError: no such user's home
        return ()  # told when they are opened


def _has_decoded(folder: Path) -> bool:
    try:
        return any(folder.glob("streamer-*.safetensors"))
    except (OSError, ValueError):
        return False
