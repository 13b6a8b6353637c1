"""Runs SDXL where it does not fit: weights stream block by block under one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.models.drop_in import attach, load_pipeline, load_unet

if TYPE_CHECKING:
    from streamer.runtime.attach import StreamHandle

__all__ = ["StreamHandle", "attach", "load_pipeline", "load_unet"]


def __getattr__(name: str) -> Any:
    """Loads torch when something of its is first asked for: until then, and until a call, nothing large is loaded."""
    if name != "StreamHandle":
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    from streamer.runtime.attach import StreamHandle

    return StreamHandle
