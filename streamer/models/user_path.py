"""Paths as a user writes them."""

from __future__ import annotations

from pathlib import Path

from streamer.errors import SettingError, printable


def user_path(written: str | Path) -> Path:
    """The path that is meant, a home directory's ``~`` written out.

    Args:
        written: such as ``~/models/sdxl`` or ``~someone/sdxl``.

    Raises:
        SettingError: there is no such home directory.
    """
    try:
        return Path(written).expanduser()
    except RuntimeError as error:
        raise SettingError(
            f"{printable(str(written))}: there is no such home directory.",
            "A path that begins with ~ and a name is in that user's; write ./ before it if it is a file's name.",
        ) from error
