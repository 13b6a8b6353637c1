"""Loads the large libraries: fast, and without advice that this program's users can't act on."""

from __future__ import annotations

import gc
import os
import warnings

from streamer.models.uncollected import uncollected
from streamer.processors import wait_without_spinning


def load_libraries(*, bars: bool) -> None:
    """torch, diffusers and transformers are imported; only errors are logged by them from now on.

    Args:
        bars: whether loading a large model may show a progress bar.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    wait_without_spinning()
    warnings.filterwarnings("ignore", category=FutureWarning)
    # Older versions of torch say so while they are imported where there is no GPU.
    warnings.filterwarnings("ignore", message="User provided device_type of 'cuda'", category=UserWarning)
    # What importing makes never becomes garbage: frozen, it isn't looked through now and then, nor at the end.
    with uncollected():
        import diffusers.utils.logging
        import transformers.utils.logging
        from diffusers import StableDiffusionXLPipeline  # noqa: F401 - the import is what takes the time

        gc.freeze()
    transformers.utils.logging.disable_progress_bar()
    if not bars:
        diffusers.utils.logging.disable_progress_bar()
