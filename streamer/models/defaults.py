"""Steps, guidance and size when the user doesn't say: they come with the model."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamer.config import parse_size
from streamer.errors import ModelError, SizeError

FILE_NAME = "streamer.json"


@dataclass(frozen=True)
class Defaults:
    """What suits a model.

    Attributes:
        steps: of denoising.
        guidance: scale of classifier-free guidance; up to 1 there is none.
        width: pixels.
        height: pixels.
        vram_budget_nbytes: of everything on a CPU; None: what the machine has room for, as on other devices.
    """

    steps: int = 30
    guidance: float = 5.0
    width: int = 1024
    height: int = 1024
    vram_budget_nbytes: int | None = None


def read_defaults(root: Path, unet_config: dict[str, Any], vae_config: dict[str, Any]) -> Defaults:
    """The model's own, from ``streamer.json`` in its directory; else SDXL's, at the size the U-Net was trained for.

    Args:
        root: the model's directory.
        unet_config: with ``sample_size``, the latent's.
        vae_config: with ``block_out_channels``; each level but the first halves the picture.

    Raises:
        ModelError: the file is there and makes no sense.
    """
    latent = unet_config.get("sample_size")
    size = latent * latent_factor(vae_config) if type(latent) is int and latent > 0 else 1024
    defaults = Defaults(width=size, height=size)
    path = root / FILE_NAME
    if not path.is_file():
        return defaults
    try:
        given = json.loads(path.read_text("utf-8"))
        numbers = {name: given[name] for name in ("steps", "width", "height") if name in given}
        if not all(type(n) is int and 1 <= n <= 1 << 16 for n in numbers.values()):
            raise ValueError("steps, width and height are positive whole numbers")
        budget = parse_size(given["vram_budget"]) if "vram_budget" in given else None
        guidance = float(given.get("guidance", defaults.guidance))
        return replace(defaults, **numbers, guidance=guidance, vram_budget_nbytes=budget)
    except (OSError, ValueError, TypeError, AttributeError, SizeError) as error:
        raise ModelError(str(path), f"its defaults make no sense ({error}).") from error


def latent_factor(vae_config: dict[str, Any]) -> int:
    """Pixels of a picture's side for each of its latent's.

    Args:
        vae_config: with ``block_out_channels``; each level but the first halves the picture.
    """
    levels = vae_config.get("block_out_channels")
    return 2 ** (len(levels) - 1) if isinstance(levels, list) and 0 < len(levels) < 10 else 8
