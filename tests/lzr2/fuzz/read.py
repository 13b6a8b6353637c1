"""What fuzzing asserts: any bytes are read as the reference reads them, or end in one Lzr2Error."""

from __future__ import annotations

import math

import numpy as np

import lzr2
from tests.lzr2 import reference

_COMPARED_WEIGHTS = 4096  # the reference is slow


def check(data: bytes) -> str:
    """Reads `data` in every way; returns what came of it. Raises whatever isn't an Lzr2Error."""
    report = lzr2.verify(data)
    try:
        with lzr2.open(data) as file:
            decoded = {}
            small = True
            for key in file.keys():
                if math.prod(file.shape(key)) > 100 * _COMPARED_WEIGHTS:
                    small = False
                    continue
                decoded[key] = file.get_tensor(key).tobytes()
                out = np.empty(file.shape(key), np.float16)
                lzr2.decode_inflated_into(file.read_inflated(key), out)
                assert out.tobytes() == decoded[key]
    except lzr2.Lzr2Error as error:
        return type(error).__name__
    # What verify refuses may still be read: a damaged record that a later one of the same key replaces, or one
    # whose open entry size was settled by what follows it.
    if report.ok() and small and sum(r.n_weights for r in file.index.records if r.has_payload) <= _COMPARED_WEIGHTS:
        assert decoded == {k: t.tobytes() for k, t in reference.decode(data).items()}
        return "as the reference"
    return "read"
