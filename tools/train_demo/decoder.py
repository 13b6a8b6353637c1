"""The stage that fits the VAE's decoder to what the U-Net draws, so that pictures come out sharper than their latents.

The encoder stays as it is, and so does what the U-Net learned. Half of what the decoder sees are latents as the U-Net
draws them, half the pictures' own with a little noise: it must stay a decoder of any latent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .captions import Variant, all_variants, prompt, render
from .checkpoints import load_checkpoint, save_checkpoint, save_directory
from .draw import draw_latents
from .latents import as_input, cached_latents
from .loop import Pace, step_random, train
from .pictures import Pictures, read_pictures
from .progress import tell
from .sampling import Sampler
from .settings import Settings
from .shapes import SCALING, load_unet, load_vae
from .stage_limits import drawing, limits
from .texts import load_texts
from .vae import picture_loss

_DRAWN = 600  # latents to learn from
_DRAWN_SMALL = 4
_AT_ONCE = 24
_FIRST_SEED = 10_000  # others than the evaluation draws with
_NOISE = 0.1  # of a latent's deviation
RATE = 5e-4


class DecoderLoss:
    """The loss of a step.

    Args:
        vae: on the device; its decoder is trained.
        latents: [variants, channels, height, width], on the CPU.
        drawn: the U-Net's, [drawn, channels, height, width].
        shown: the variant that each of them shows.
        variants: all.
        pictures: their pixels.
        settings: device, batch and seed.
    """

    def __init__(
        self,
        vae: Any,
        latents: torch.Tensor,
        drawn: torch.Tensor,
        shown: Sequence[int],
        variants: Sequence[Variant],
        pictures: Pictures,
        settings: Settings,
    ) -> None:
        self._vae, self._latents, self._drawn, self._shown = vae, latents, drawn, np.array(shown)
        self._variants, self._pixels, self._settings = variants, pictures.pixels, settings
        self._sampler = Sampler(variants, np.ones(len(pictures.words)), from_nothing=False)

    def __call__(self, step: int, share: float) -> tuple[torch.Tensor, int]:
        settings = self._settings
        random = step_random(settings.seed, step)
        chance = np.random.default_rng([settings.seed, step])
        half = max(1, settings.batch // 2)
        own = self._sampler.draw(half, share, chance)
        clean = self._latents[torch.from_numpy(own)]
        noisy = clean + _NOISE * torch.rand(half, 1, 1, 1, generator=random) * torch.randn(
            clean.shape, generator=random
        )
        some = chance.integers(len(self._drawn), size=half)
        latents = torch.cat([noisy, self._drawn[torch.from_numpy(some)]])
        numbers = [*own, *self._shown[some]]
        wanted = as_input([render(self._variants[i], self._pixels) for i in numbers]).to(settings.device)
        latents = latents.to(settings.device, memory_format=torch.channels_last)
        found = self._vae.decode(latents / SCALING).sample
        return picture_loss(found, wanted), len(numbers)


def train_decoder(settings: Settings) -> None:
    """Trains it from where the last run was, else from the VAE as it is; into ``work/vae_for_drawing``.

    Raises:
        StageOrderError: pictures, VAE, text encoders or U-Net aren't there yet.
    """
    pictures = read_pictures(settings)
    device = settings.device
    vae = load_vae(settings.part("vae", "vae")).to(device, memory_format=torch.channels_last)
    variants = all_variants(pictures.names, pictures.pixels)
    latents = cached_latents(vae, variants, pictures.pixels, device, settings.work / "latents.safetensors")
    shown, drawn = _drawn(settings, pictures, variants)
    vae.decoder.requires_grad_(True).train()
    vae.post_quant_conv.requires_grad_(True)
    loss = DecoderLoss(vae, latents, drawn, shown, variants, pictures, settings)
    pace = Pace(RATE, warm_up=50, average=0.998)
    train("decoder", vae, loss, limits=limits(settings, "decoder"), pace=pace, folder=settings.work)
    save_directory(vae.save_pretrained, settings.work / "vae_for_drawing")


def _drawn(settings: Settings, pictures: Pictures, variants: Sequence[Variant]) -> tuple[list[int], torch.Tensor]:
    """Variants' numbers and what the U-Net draws for them: every concept twice as it is, then variants by chance.

    Kept in a file, with which an interrupted run goes on. Once the U-Net is another, the file and the decoder's
    checkpoint are of no use, and removed.
    """
    path = settings.work / "drawn.checkpoint"
    count = _DRAWN_SMALL if settings.small else _DRAWN
    own = [i for i, variant in enumerate(variants) if variant.kind == "own"]
    other = [i for i, variant in enumerate(variants) if variant.kind != "own"]
    shown = [int(i) for i in [*own, *own, *np.random.default_rng(settings.seed).permutation(other)][:count]]
    unet_folder = settings.part("unet", "unet")
    digest = hashlib.sha256((unet_folder / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()
    drawn = torch.empty(0)
    if path.is_file():
        state = load_checkpoint(path)
        if state["unet"] == digest:
            drawn = state["latents"]
        else:
            for old in ("decoder.checkpoint", "decoder.log.jsonl"):
                (settings.work / old).unlink(missing_ok=True)
    if len(drawn) >= len(shown):
        return shown, drawn
    unet = load_unet(unet_folder).to(settings.device, memory_format=torch.channels_last).eval()
    folders = [settings.part(name, "text") for name in ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")]
    texts = load_texts(folders, settings.device)
    while len(drawn) < len(shown):
        begin = len(drawn)
        some = shown[begin : begin + _AT_ONCE]
        prompts = [prompt(variants[i], pictures.words) for i in some]
        seeds = [settings.seed + _FIRST_SEED + begin + i for i in range(len(some))]
        new = draw_latents(unet, texts, prompts, seeds, *drawing(settings), settings.device)
        drawn = torch.cat([drawn, new]) if begin else new
        save_checkpoint({"unet": digest, "latents": drawn}, path)
        tell(f"decoder: {len(drawn)} of {len(shown)} drawn to learn from")
    return shown, drawn
