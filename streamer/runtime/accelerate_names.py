"""What is known of accelerate's inside: how a module that it moves about is told."""

from __future__ import annotations

from torch import nn


def is_moved_about(module: nn.Module) -> bool:
    """Whether accelerate moves the module's weights to a device before its forward, and away after it."""
    return hasattr(module, "_hf_hook")
