"""The shapes of SDXL base's U-Net, so that it can be planned for and made up without fetching anything."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def sdxl_directory() -> Path:
    """A directory with SDXL base's configurations of the U-Net and the VAE, and no weights; part of the package."""
    return _HERE


def sdxl_unet_config() -> Path:
    """The U-Net's configuration."""
    return _HERE / "unet" / "config.json"
