"""Pictures as latents, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .captions import Variant, render
from .progress import tell

_BATCH = 64


def as_input(pictures: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """Pictures for the VAE: [pictures, 3, height, width], -1 to 1, channels last.

    Args:
        pictures: each [height, width, 3], 0 to 1.
    """
    stacked = torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2) * 2 - 1
    return stacked.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encode(vae: Any, variants: Sequence[Variant], pixels: np.ndarray, device: str) -> torch.Tensor:
    """The latents of all variants as the U-Net sees them: [variants, channels, height, width], on the CPU.

    Args:
        vae: with ``config.scaling_factor``.
        variants: of the pictures.
        pixels: [concepts, height, width, 4].
        device: where the VAE is.
    """
    result = []
    for begin in range(0, len(variants), _BATCH):
        pictures = as_input([render(variant, pixels) for variant in variants[begin : begin + _BATCH]])
        latent = vae.encode(pictures.to(device)).latent_dist.mode() * vae.config.scaling_factor
        result.append(latent.float().cpu())
        if begin // _BATCH % 20 == 19:
            tell(f"latents: {begin + _BATCH} of {len(variants)}")
    return torch.cat(result)


def cached_latents(vae: Any, variants: Sequence[Variant], pixels: np.ndarray, device: str, path: Path) -> torch.Tensor:
    """As ``encode``, kept in a file for the next run, as long as pictures, variants and VAE are the same.

    Args:
        vae: see ``encode``.
        variants: see ``encode``.
        pixels: see ``encode``.
        device: see ``encode``.
        path: of the file.
    """
    digest = hashlib.sha256(repr(list(variants)).encode() + pixels.tobytes())
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    key = digest.hexdigest()
    if path.is_file():
        held = load_file(path)
        if key in held:
            return held[key]
    latents = encode(vae, variants, pixels, device)
    temporary = path.with_name(path.name + ".part")
    save_file({key: latents.contiguous()}, temporary)
    temporary.replace(path)
    return latents
