"""Tensors compared as bytes, so that a NaN equals itself and 0.0 isn't -0.0."""

from __future__ import annotations

import torch


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def raw_as_cast(tensor: torch.Tensor) -> bytes:
    """As `raw`; any NaN is any other: which one torch makes of it depends on its place in the array."""
    return raw(torch.where(tensor.isnan(), torch.full_like(tensor, torch.nan), tensor))
