"""The stage that trains the U-Net: v-prediction on latents, with both text encoders as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .captions import Variant, all_variants, caption
from .checkpoints import save_directory
from .drawings import SIDE
from .latents import cached_latents
from .loop import Pace, step_random, train
from .pictures import Pictures, read_pictures
from .progress import tell
from .sampling import Sampler
from .settings import Settings
from .shapes import build_unet, load_unet, load_vae
from .stage_limits import limits
from .texts import Texts, load_texts

_NO_TEXT = 0.1  # share of samples for guidance: zeros, as the pipeline has them without a negative prompt
_EMPTY_TEXT = 0.01  # and the empty text's encoding, for an empty negative prompt
_OFFSET = 0.05  # noise that a whole channel shares
_TOWARDS_NOISE = 0.6  # exponent of uniform timesteps: below 1 they gather at high noise
_HIGH = 600  # timesteps from which the text decides what is drawn
_FIRST = 940  # timesteps at which a picture is begun, from noise alone
_ONLY_NOISE = 0.5
_MOST_WEIGHT = 5.0
RATE = 1e-3


@dataclass(frozen=True)
class Noise:
    """SDXL's betas.

    Attributes:
        kept: [timesteps] share of the picture's variance at each.
    """

    kept: torch.Tensor

    @classmethod
    def of_sdxl(cls) -> Noise:
        """1,000 timesteps, scaled linear from 0.00085 to 0.012."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return cls(torch.cumprod(1 - betas, 0).float())

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """How much each timestep's v-loss counts: 1 at high noise; at low noise no more than 5 of the picture's own.

        The v-loss is the picture's times ``snr + 1``, which grows without end towards low noise, where only speckle is
        left to learn. (Min-SNR weights would do the same, and take high noise away too, where the text decides what is
        drawn.)

        Args:
            timesteps: integers.
        """
        kept = self.kept[timesteps]
        above = 1 / (1 - kept)  # snr + 1
        return torch.clamp(above, max=_MOST_WEIGHT) / above


def timesteps(count: int, random: torch.Generator) -> torch.Tensor:
    """Spread evenly over quantiles of a distribution that leans to high noise.

    Args:
        count: how many.
        random: the chance.
    """
    uniform = (torch.arange(count) + torch.rand(count, generator=random)) / count
    return (1000 * uniform**_TOWARDS_NOISE).long().clamp(max=999)[torch.randperm(count, generator=random)]


def time_ids(count: int, device: str) -> torch.Tensor:
    """SDXL's sizes and crop of a whole picture: [count, 6]."""
    return torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]], dtype=torch.float32, device=device).repeat(count, 1)


class UnetLoss:
    """The loss of a step; also finds out which concepts come out badly.

    Args:
        unet: on the device.
        latents: [variants, channels, height, width], on the CPU.
        variants: what they show.
        pictures: with the words.
        texts: encodes captions.
        settings: device, batch and seed.
        from_nothing: the U-Net wasn't trained before.
    """

    def __init__(
        self,
        unet: Any,
        latents: torch.Tensor,
        variants: Sequence[Variant],
        pictures: Pictures,
        texts: Texts,
        settings: Settings,
        *,
        from_nothing: bool,
    ) -> None:
        self._unet, self._latents, self._variants, self._texts = unet, latents, variants, texts
        self._words = pictures.words
        self._settings = settings
        self._noise = Noise.of_sdxl()
        own = {variant.concept: i for i, variant in enumerate(variants) if variant.kind == "own"}
        energy = latents[[own[i] for i in range(len(own))]].square().mean((1, 2, 3)).numpy()
        self._sampler = Sampler(variants, energy, from_nothing=from_nothing)
        self.concept_weights = self._sampler.weights

    def __call__(self, step: int, share: float) -> tuple[torch.Tensor, int]:
        settings, count, device = self._settings, self._settings.batch, self._settings.device
        random = step_random(settings.seed, step)
        chance = np.random.default_rng([settings.seed, step])
        chosen = self._sampler.draw(count, share, chance)
        hidden, pooled = self._texts.encode([self._caption(i, chance) for i in chosen])
        without = torch.from_numpy(chance.random(count) < _NO_TEXT).to(device)
        hidden = hidden.masked_fill(without[:, None, None], 0)
        pooled = pooled.masked_fill(without[:, None], 0)

        clean = self._latents[torch.from_numpy(chosen)]
        noise = torch.randn(clean.shape, generator=random)
        noise += _OFFSET * torch.randn(clean.shape[:2], generator=random)[:, :, None, None]
        times = timesteps(count, random)
        kept = self._noise.kept[times][:, None, None, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        only_noise = (times >= _FIRST) & (torch.rand(count, generator=random) < _ONLY_NOISE)
        noisy = torch.where(only_noise[:, None, None, None], noise, noisy)
        target = kept.sqrt() * noise - (1 - kept).sqrt() * clean
        noisy = noisy.to(device, memory_format=torch.channels_last)

        with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
            found = self._unet(
                noisy,
                times.to(device),
                encoder_hidden_states=hidden,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids(count, device)},
            ).sample
        each = (found.float() - target.to(device)).square().mean((1, 2, 3))
        told = (times >= _HIGH) & ~without.cpu()
        concepts = np.array([self._variants[i].concept for i in chosen])
        self._sampler.note(concepts[told.numpy()], each.detach().cpu()[told].numpy())
        return (each * self._noise.weights(times).to(device)).mean(), count

    def _caption(self, number: int, chance: np.random.Generator) -> str:
        text = caption(self._variants[number], self._words, chance)
        return "" if chance.random() < _EMPTY_TEXT else text


def train_unet(settings: Settings) -> None:
    """Trains it from where the last run was, else from ``start_from``, else from nothing; into ``work/unet``.

    Raises:
        StageOrderError: pictures, VAE or text encoders aren't there yet.
    """
    pictures = read_pictures(settings)
    device = settings.device
    vae = load_vae(settings.part("vae", "vae")).to(device, memory_format=torch.channels_last)
    folders = [settings.part(name, "text") for name in ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")]
    texts = load_texts(folders, device)
    variants = all_variants(pictures.names, pictures.pixels)
    latents = cached_latents(vae, variants, pictures.pixels, device, settings.work / "latents.safetensors")
    tell(f"unet: {len(variants)} variants, latents' deviation {latents.std():.2f}")
    begin = settings.start_from / "unet" if settings.start_from is not None else None
    torch.manual_seed(settings.seed)
    unet = load_unet(begin) if begin is not None else build_unet(small=settings.small)
    unet = unet.to(device, memory_format=torch.channels_last).train()
    loss = UnetLoss(unet, latents, variants, pictures, texts, settings, from_nothing=begin is None)
    rate = settings.rate or RATE
    pace = Pace(rate, warm_up=200, average=0.9995)

    def keep() -> None:
        save_directory(unet.save_pretrained, settings.work / "unet")

    train("unet", unet, loss, limits=limits(settings, "unet"), pace=pace, folder=settings.work, on_checkpoint=keep)
    weights = loss.concept_weights()
    worst = ", ".join(f"{pictures.names[i]} {weights[i]:.1f}" for i in np.argsort(-weights)[:12])
    tell(f"unet: drawn most often, as they were hardest: {worst}")
