"""The stage that trains both text encoders, before the U-Net and apart from it.

Trained with the U-Net they come to tell colours apart and little else. Here they learn to tell all concepts, colours
and backgrounds apart, and what the pictures look like in the large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .captions import Variant, all_variants, caption
from .checkpoints import save_directory
from .colours import BACKGROUNDS, HUES
from .loop import Pace, step_random, train
from .pictures import Pictures, read_pictures
from .progress import tell
from .sampling import Sampler
from .settings import Settings
from .shapes import PROJECTION, WIDTHS, build_text_encoders
from .stage_limits import limits
from .texts import encode_with
from .tokenizers import save_tokenizers

_COLOURS = (None, *HUES)
_BACKGROUNDS = ("white", *BACKGROUNDS)
_SHARPNESS = 20.0  # of the softmax over cosines
_COMPONENTS = 64
_SMALL = 16  # pixels of a picture's side for its components
_BATCH_FACTOR = 8  # texts cost little: so many times the pictures of a step
_CORPUS = 20_000


class TextEncoders(nn.Module):
    """Both encoders, and what they are taught with: heads on the pooled output and on the mean of the hidden states.

    Args:
        first: the text encoder.
        second: the one with projection.
        concepts: how many.
        components: of the pictures.
    """

    def __init__(self, first: Any, second: Any, concepts: int, components: int) -> None:
        super().__init__()
        self.first, self.second = first, second
        widths = (sum(WIDTHS), PROJECTION)
        self.concepts = nn.ParameterList(torch.randn(concepts, width) for width in widths)
        self.colours = nn.ModuleList(nn.Linear(width, len(_COLOURS)) for width in widths)
        self.backgrounds = nn.ModuleList(nn.Linear(width, len(_BACKGROUNDS)) for width in widths)
        self.components = nn.ModuleList(nn.Linear(width, components) for width in widths)


class TextLoss:
    """The loss of a step.

    Args:
        model: on the device.
        tokenizers: the two.
        variants: of all pictures.
        pictures: with the words.
        settings: device, batch and seed.
    """

    def __init__(
        self,
        model: TextEncoders,
        tokenizers: Sequence[Any],
        variants: Sequence[Variant],
        pictures: Pictures,
        components: torch.Tensor,
        settings: Settings,
    ) -> None:
        self._model, self._tokenizers, self._variants = model, tokenizers, variants
        self._words, self._settings = pictures.words, settings
        self._components = components
        self._sampler = Sampler(variants, np.ones(len(pictures.words)), from_nothing=False)
        self.right = 0.0

    def __call__(self, step: int, share: float) -> tuple[torch.Tensor, int]:
        settings, model, device = self._settings, self._model, self._settings.device
        chance = np.random.default_rng([settings.seed, step])
        torch.manual_seed(step_random(settings.seed, step).initial_seed())
        chosen = self._sampler.draw(settings.batch * _BATCH_FACTOR, share, chance)
        said = [self._variants[i] for i in chosen]
        captions = [caption(variant, self._words, chance) for variant in said]
        hidden, pooled = encode_with(self._tokenizers, [model.first, model.second], captions, device)
        concepts = torch.tensor([variant.concept for variant in said], device=device)
        colours = torch.tensor([_COLOURS.index(variant.colour) for variant in said], device=device)
        backgrounds = torch.tensor([_BACKGROUNDS.index(variant.background) for variant in said], device=device)
        own = self._components[concepts.cpu()].to(device)
        total = torch.zeros((), device=device)
        for i, features in enumerate((hidden.mean(1), pooled)):
            cosines = functional.normalize(features) @ functional.normalize(model.concepts[i]).T
            total = total + functional.cross_entropy(_SHARPNESS * cosines, concepts)
            total = total + functional.cross_entropy(model.colours[i](features), colours)
            total = total + functional.cross_entropy(model.backgrounds[i](features), backgrounds)
            total = total + functional.mse_loss(model.components[i](features), own)
            right = (cosines.argmax(1) == concepts).float().mean()
        self.right = 0.95 * self.right + 0.05 * float(right)
        return total, len(said)


def leading_components(pixels: np.ndarray) -> torch.Tensor:
    """Each concept's picture in the directions in which pictures differ most: [concepts, components], deviation 1.

    Args:
        pixels: [concepts, height, width, 4].
    """
    side = pixels.shape[1] // _SMALL
    alpha = pixels[..., 3:].astype(np.float32) / 255
    white = pixels[..., :3] / 255.0 * alpha + 1 - alpha
    small = white.reshape(len(pixels), _SMALL, side, _SMALL, side, 3).mean((2, 4)).reshape(len(pixels), -1)
    centred = small - small.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    parts = (left * values)[:, :_COMPONENTS]
    return torch.from_numpy((parts / max(1e-6, float(parts.std()))).astype(np.float32))


def train_text(settings: Settings) -> None:
    """Learns the tokenizers and trains both encoders, from where the last run was; into ``work``.

    Raises:
        StageOrderError: there are no pictures yet.
    """
    from transformers import CLIPTokenizer

    pictures = read_pictures(settings)
    variants = all_variants(pictures.names, pictures.pixels)
    folders = [settings.work / "tokenizer", settings.work / "tokenizer_2"]
    if not all(folder.is_dir() for folder in folders):
        chance = np.random.default_rng(settings.seed)
        some = chance.integers(len(variants), size=_CORPUS)
        save_tokenizers(
            [*pictures.labels, *(caption(variants[i], pictures.words, chance) for i in some)], settings.work
        )
    tokenizers = [CLIPTokenizer.from_pretrained(folder) for folder in folders]
    torch.manual_seed(settings.seed)
    first, second = build_text_encoders(tokenizers[0].bos_token_id, tokenizers[0].eos_token_id)
    components = leading_components(pictures.pixels)
    model = TextEncoders(first, second, len(pictures.words), components.shape[1]).to(settings.device).train()
    loss = TextLoss(model, tokenizers, variants, pictures, components, settings)
    pace = Pace(2e-3, average=0.99)
    train("text", model, loss, limits=limits(settings, "text"), pace=pace, folder=settings.work)
    save_directory(first.save_pretrained, settings.work / "text_encoder")
    save_directory(second.save_pretrained, settings.work / "text_encoder_2")
    tell(f"text: {loss.right:.1%} of captions known by their concept")
