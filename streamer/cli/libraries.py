"""What the libraries below print: advice that this program's users can't act on is left out."""

from __future__ import annotations

import os
import warnings


def calm(*, bars: bool) -> None:
    """Only errors are logged from now on. To be called before the libraries are imported.

    Args:
        bars: whether loading a large model may show a progress bar.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Two threads that compute at once spin for each other's cores otherwise, which makes both several times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    warnings.filterwarnings("ignore", category=FutureWarning)
    import diffusers.utils.logging
    import transformers.utils.logging

    transformers.utils.logging.disable_progress_bar()
    if not bars:
        diffusers.utils.logging.disable_progress_bar()
