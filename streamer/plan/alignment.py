"""Multiples that addresses are rounded up to."""

from __future__ import annotations

ALIGNMENT = 512
"""Bytes. What device allocators align to; another alignment can select another kernel and change the last bit."""


def align(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """The smallest multiple of ``alignment`` that is at least ``nbytes``."""
    return -(-nbytes // alignment) * alignment
