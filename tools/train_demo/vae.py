"""The stage that trains the VAE: crops first, then whole pictures; white becomes 0 and the scale SDXL's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .captions import Variant, all_variants, render
from .checkpoints import save_directory
from .drawings import SIDE
from .latents import as_input
from .loop import Pace, step_random, train
from .pictures import read_pictures
from .progress import tell
from .settings import Settings
from .shapes import SCALING, build_vae, load_vae
from .stage_limits import limits

_CROP = 32
_CROPS_UNTIL = 0.5  # share of the training
_GRADIENT = 0.5
_DIVERGENCE = 1e-4
_MEASURED = 64  # pictures


def picture_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Distance of pictures, absolute and squared, and of their edges: one number.

    Args:
        found: [pictures, 3, height, width], -1 to 1.
        wanted: as ``found``.
    """
    across = functional.l1_loss(found.diff(dim=3), wanted.diff(dim=3))
    down = functional.l1_loss(found.diff(dim=2), wanted.diff(dim=2))
    return functional.l1_loss(found, wanted) + functional.mse_loss(found, wanted) + _GRADIENT * (across + down)


class VaeLoss:
    """The loss of a step.

    Args:
        vae: on the device.
        variants: of the pictures, each as likely.
        pixels: [concepts, height, width, 4].
        settings: device, batch and seed.
    """

    def __init__(self, vae: Any, variants: Sequence[Variant], pixels: np.ndarray, settings: Settings) -> None:
        self._vae, self._variants, self._pixels, self._settings = vae, variants, pixels, settings

    def __call__(self, step: int, share: float) -> tuple[torch.Tensor, int]:
        settings = self._settings
        random = step_random(settings.seed, step)
        chance = np.random.default_rng([settings.seed, step])
        chosen = chance.integers(len(self._variants), size=settings.batch)
        pictures = as_input([render(self._variants[i], self._pixels) for i in chosen])
        if share < _CROPS_UNTIL:
            y, x = chance.integers(SIDE - _CROP + 1, size=2)
            pictures = pictures[:, :, y : y + _CROP, x : x + _CROP]
        pictures = pictures.to(settings.device, memory_format=torch.channels_last)
        spread = self._vae.encode(pictures).latent_dist
        noise = torch.randn(spread.mean.shape, generator=random).to(settings.device)
        found = self._vae.decode(spread.mean + spread.std * noise).sample
        return picture_loss(found, pictures) + _DIVERGENCE * spread.kl().mean() / spread.mean[0].numel(), len(chosen)


@torch.no_grad()
def fold(vae: Any, pictures: torch.Tensor) -> None:
    """Moves latents so that white is 0 and, times SDXL's scaling factor, their deviation 1; pictures stay as they are.

    Both go into the 1 x 1 convolutions on either side of the latents.

    Args:
        vae: is changed.
        pictures: to measure with, [pictures, 3, height, width], -1 to 1.
    """
    device = pictures.device
    white = torch.ones(1, 3, SIDE, SIDE, device=device).contiguous(memory_format=torch.channels_last)
    centre = vae.encode(white).latent_dist.mode().mean((0, 2, 3))
    moved = vae.encode(pictures).latent_dist.mode() - centre[None, :, None, None]
    scale = 1 / (float(moved.square().mean().sqrt()) * SCALING)
    into, out = vae.quant_conv, vae.post_quant_conv
    channels = len(centre)
    out.bias += out.weight[:, :, 0, 0] @ centre
    out.weight /= scale
    into.bias[:channels] = (into.bias[:channels] - centre) * scale
    into.weight[:channels] *= scale
    into.bias[channels:] += 2 * np.log(scale)


@torch.no_grad()
def peak_signal_to_noise(vae: Any, pictures: torch.Tensor) -> float:
    """How well pictures come back, in dB.

    Args:
        vae: encodes and decodes.
        pictures: [pictures, 3, height, width], -1 to 1.
    """
    found = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    return float(-10 * torch.log10(((found - pictures) / 2).square().mean()))


def train_vae(settings: Settings) -> None:
    """Trains it from where the last run was, else from nothing; into ``work/vae``. Raises StageOrderError."""
    pictures = read_pictures(settings)
    variants = all_variants(pictures.names, pictures.pixels)
    torch.manual_seed(settings.seed)
    vae = build_vae(small=settings.small).to(settings.device, memory_format=torch.channels_last).train()
    loss = VaeLoss(vae, variants, pictures.pixels, settings)
    pace = Pace(2e-3, average=0.998)
    train("vae", vae, loss, limits=limits(settings, "vae"), pace=pace, folder=settings.work)

    chosen = np.random.default_rng(settings.seed).permutation(len(variants))[:_MEASURED]
    measured = as_input([render(variants[i], pictures.pixels) for i in chosen]).to(settings.device)
    vae.eval()
    fold(vae, measured)
    save_directory(vae.save_pretrained, settings.work / "vae")
    folded = load_vae(settings.work / "vae").to(settings.device)
    tell(f"vae: {peak_signal_to_noise(folded, measured):.1f} dB")
