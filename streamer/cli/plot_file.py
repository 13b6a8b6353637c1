"""``--plot FILE.png``: refused before anything is measured, if it can't be written."""

from __future__ import annotations

from pathlib import Path

from streamer.errors import SettingError


def check_plot_path(path: Path | None) -> None:
    """Raises SettingError unless a picture can be written there; no path is fine."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise SettingError(f"A plot can't be written to {path.name}.", "Use a name that ends in .png.")
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"A plot can't be written to {path}: that isn't a file in an existing folder.")
