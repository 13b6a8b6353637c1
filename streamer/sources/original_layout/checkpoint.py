"""Which parts of a pipeline a file in the original layout has, seen from its keys, and where their tensors are."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial

from streamer.sources.original_layout.text_encoders import clip_place, open_clip_place
from streamer.sources.original_layout.unet import unet_names
from streamer.sources.original_layout.vae import vae_place
from streamer.sources.place import Place, PlaceOf

_UNET_PREFIXES = ("model.diffusion_model.", "")
_UNET_BLOCKS = ("input_blocks.", "middle_block.", "output_blocks.")
_CLIP = "conditioner.embedders.0.transformer."
_OPEN_CLIP = ("conditioner.embedders.1.model.", "conditioner.embedders.0.model.")  # the refiner has only this one
_VAE = "first_stage_model."
_UP = re.compile(r"decoder\.up\.(\d{1,3})\.", re.ASCII)


def unet_prefix(keys: Collection[str]) -> str | None:
    """What the names of the U-Net's tensors begin with; None if there is no U-Net in the original layout.

    Args:
        keys: of a file.
    """
    for prefix in _UNET_PREFIXES:
        begins = tuple(prefix + block for block in _UNET_BLOCKS)
        if any(key.startswith(begins) for key in keys):
            return prefix
    return None


def unet_places(keys: Collection[str], expected: Collection[str]) -> dict[str, Place] | None:
    """Where the U-Net's tensors are; None if the file has no U-Net in the original layout.

    Args:
        keys: of the file.
        expected: of all tensors of the U-Net in diffusers layout.
    """
    prefix = unet_prefix(keys)
    if prefix is None:
        return None
    return {key: Place(prefix + name) for key, name in unet_names(expected).items()}


def part_places(keys: Collection[str]) -> dict[str, PlaceOf]:
    """The text encoders and the VAE that the file has beside a U-Net in the original layout, by a pipeline's names.

    Args:
        keys: of the file.
    """
    if unet_prefix(keys) is None:
        return {}
    places: dict[str, PlaceOf] = {}
    if any(key.startswith(_CLIP) for key in keys):
        places["text_encoder"] = partial(clip_place, prefix=_CLIP)
    for prefix in _OPEN_CLIP:
        if any(key.startswith(prefix) for key in keys):
            places["text_encoder_2"] = partial(open_clip_place, prefix=prefix)
            break
    vae = [key.removeprefix(_VAE) for key in keys if key.startswith(_VAE)]
    if vae:
        levels = 1 + max((int(match[1]) for match in map(_UP.match, vae) if match), default=-1)
        places["vae"] = partial(vae_place, levels=levels, prefix=_VAE)
    return places
