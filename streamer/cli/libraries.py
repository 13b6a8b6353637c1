"""Loads the large libraries: fast, and without advice that this program's users can't act on."""

from __future__ import annotations

import gc
import os
import warnings


def load_libraries(*, bars: bool) -> None:
    """torch, diffusers and transformers are imported; only errors are logged by them from now on.

    Args:
        bars: whether loading a large model may show a progress bar.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # Two threads that compute at once spin for each other's cores otherwise, which makes both several times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    warnings.filterwarnings("ignore", category=FutureWarning)
    # Older versions of torch say so while they are imported where there is no GPU.
    warnings.filterwarnings("ignore", message="User provided device_type of 'cuda'", category=UserWarning)
    # Importing makes hundreds of thousands of objects that never become garbage. Not looking for any meanwhile takes a
    # third off the time, and a frozen heap isn't looked through again, neither now and then nor at the end.
    gc.disable()
    try:
        import diffusers.utils.logging
        import transformers.utils.logging
        from diffusers import StableDiffusionXLPipeline  # noqa: F401 - the import is what takes the time
    finally:
        gc.freeze()
        gc.enable()
    transformers.utils.logging.disable_progress_bar()
    if not bars:
        diffusers.utils.logging.disable_progress_bar()
