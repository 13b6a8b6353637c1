"""Captions as the U-Net sees them: what the pipeline's two text encoders make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


class Texts:
    """Both text encoders with their tokenizers, not to be trained.

    Args:
        tokenizers: the two.
        encoders: the two, on the device.
        device: where they are.
    """

    def __init__(self, tokenizers: Sequence[Any], encoders: Sequence[Any], device: str) -> None:
        self._tokenizers = tokenizers
        self._encoders = [encoder.eval().requires_grad_(False) for encoder in encoders]
        self._device = device

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings as diffusers' pipeline makes them: [captions, 77, both widths] and pooled [captions, projection].

        Args:
            captions: texts.
        """
        hidden, pooled = encode_with(self._tokenizers, self._encoders, captions, self._device)
        return hidden, pooled


def encode_with(
    tokenizers: Sequence[Any], encoders: Sequence[Any], captions: Sequence[str], device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """See ``Texts.encode``; with gradients, for encoders that are trained."""
    states = []
    pooled = torch.empty(0)
    for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
        ids = tokenizer(
            list(captions),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        output = encoder(ids.to(device), output_hidden_states=True)
        states.append(output.hidden_states[-2])
        pooled = output[0]  # of the second it is the projection
    return torch.cat(states, dim=-1), pooled


def load_texts(folders: Sequence[Path], device: str) -> Texts:
    """Loads the two tokenizers and the two encoders in float32.

    Args:
        folders: tokenizer, tokenizer_2, text_encoder, text_encoder_2.
        device: for the encoders.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizers = [CLIPTokenizer.from_pretrained(folder) for folder in folders[:2]]
    first = CLIPTextModel.from_pretrained(folders[2], dtype=torch.float32)
    second = CLIPTextModelWithProjection.from_pretrained(folders[3], dtype=torch.float32)
    return Texts(tokenizers, [first.to(device), second.to(device)], device)
