"""Compresses indices into the zlib stream of a record."""

from __future__ import annotations

import zlib
from typing import Any

from lzr2.zlib_backend import fastest

_PIECE_NBYTES = 1 << 20
_SAMPLE_NBYTES = 1 << 16
# Ternary indices have no repeated strings: looking for them costs four times the time and finds nothing.
_RUNS_ONLY = 3  # Z_RLE
_WORTH_MATCHING = 0.95
# Stored bytes inflate ten times as fast: a saving below this isn't worth a Huffman code.
_WORTH_CODING = 0.97


_backend: Any = fastest()


def compress(view: memoryview) -> bytes:
    """A zlib stream of these bytes, with what pays for their content: matches, runs only, or none."""
    sample = view[: min(len(view), _SAMPLE_NBYTES)]
    runs = len(_compressed(sample, 1, _RUNS_ONLY))
    if len(_compressed(sample, 2, 0)) < _WORTH_MATCHING * runs:
        return _compressed(view, 2, 0)
    if runs > _WORTH_CODING * len(sample) and len(sample):
        return store(view)
    return _compressed(view, 1, _RUNS_ONLY)


def store(view: memoryview) -> bytes:
    """A zlib stream of these bytes that doesn't compress them."""
    return _compressed(view, 0, 0)


def _compressed(view: memoryview, level: int, strategy: int) -> bytes:
    stream = _backend.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    pieces = [stream.compress(view[at : at + _PIECE_NBYTES]) for at in range(0, len(view), _PIECE_NBYTES)]
    return b"".join((*pieces, stream.flush()))
