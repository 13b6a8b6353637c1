"""``--lora FILE[:SCALE]``."""

from __future__ import annotations

from pathlib import Path

from streamer.errors import SettingError
from streamer.models.user_path import user_path

_SUFFIX = ".safetensors"


def parse_lora(text: str) -> tuple[Path, float]:
    """The file and its scale, 1 if none is said. The colon of ``C:\\x.safetensors`` is no scale's.

    Args:
        text: as the user wrote it.

    Raises:
        SettingError: there is no file in it, or what follows it is no number.
    """
    before, colon, after = text.rpartition(":")
    if not colon or user_path(text).is_file():
        return _path(text), 1.0
    try:
        return _path(before), float(after)
    except ValueError as error:
        if before.lower().endswith(_SUFFIX):
            raise SettingError(f"--lora {text!a}: the scale {after!a} is no number.", "Such as 0.8.") from error
        return _path(text), 1.0


def _path(text: str) -> Path:
    if not text:
        raise SettingError("--lora needs a file.", "Such as --lora style.safetensors:0.8.")
    return user_path(text)
