"""What of a picture determines memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_PICTURES = 4  # of the result's size that exist at one time: tiles, rows of tiles, and the picture put together


@dataclass(frozen=True)
class PictureSize:
    """What of a request determines memory.

    Attributes:
        width: pixels.
        height: pixels.
        guided: whether the U-Net computes two pictures at once, as classifier-free guidance needs.
        encoded: whether the VAE encodes a picture of this size too, to start from.
    """

    width: int
    height: int
    guided: bool
    encoded: bool = False

    @property
    def batch(self) -> int:
        """How many pictures the U-Net computes at once."""
        return 2 if self.guided else 1


BytesOf = Callable[[PictureSize], int]
"""Bytes that something needs for such a picture."""


def picture_nbytes(width: int, height: int) -> int:
    """Bytes of pictures that exist at one time, in pixels of float32.

    Args:
        width: pixels.
        height: pixels.
    """
    return width * height * 3 * 4 * _PICTURES
