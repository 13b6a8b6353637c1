"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint, instead of the one that is there.

    Args:
        state: tensors, numbers, texts, and lists and dicts of them.
        path: of the file.
    """
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote, on the CPU. Nothing in the file is run."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def save_directory(write: Callable[[Path], object], folder: Path) -> None:
    """Makes a directory, instead of the one that is there.

    Args:
        write: fills an empty directory.
        folder: its name when it is whole.
    """
    temporary, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    for left_over in (temporary, old):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    if folder.exists():
        folder.replace(old)
    temporary.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """What an interrupted run left: unfinished files, and a directory that was about to be replaced takes its place."""
    for old in folder.glob("*.old"):
        whole = old.with_suffix("")
        if whole.exists():
            shutil.rmtree(old)
        else:
            old.replace(whole)
    for part in folder.glob("*.part"):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
