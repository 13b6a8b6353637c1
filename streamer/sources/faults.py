"""Faults of files as errors of this package."""

from __future__ import annotations

from lzr2.errors import Lzr2Error
from streamer.errors import WeightsFileError


def translated(error: Lzr2Error) -> WeightsFileError:
    """The same fault with the same words and facts; the original is its cause when raised from it."""
    return WeightsFileError(error.path or "<memory>", str(error), located=error.path is not None)
