"""Runs SDXL where it does not fit: weights stream block by block under one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from streamer.models.drop_in import attach, load_pipeline, load_unet
    from streamer.runtime.attach import StreamHandle

__all__ = ["StreamHandle", "attach", "load_pipeline", "load_unet"]

_PLACES = {
    "attach": "streamer.models.drop_in",
    "load_pipeline": "streamer.models.drop_in",
    "load_unet": "streamer.models.drop_in",
    "StreamHandle": "streamer.runtime.attach",
}


def __getattr__(name: str) -> Any:
    """Loads torch and diffusers when something of theirs is first asked for: the command line starts without."""
    if name not in _PLACES:
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    return getattr(_imported(_PLACES[name]), name)


def _imported(module: str) -> ModuleType:
    """Without looking for garbage meanwhile: importing makes hundreds of thousands of objects and next to none."""
    import gc
    from importlib import import_module

    looks = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        if looks:
            gc.enable()
