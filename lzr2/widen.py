"""Whole arrays from float16 to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lzr2 import lattice
from lzr2.errors import OutputArrayError


def widen(values: npt.NDArray[np.float16], out: npt.NDArray[np.float32]) -> None:
    """Makes each element of `out` that of `values`, exactly, on the calling thread alone.

    values, out: one-dimensional, contiguous, of the same length; out aligned. A NaN stays one, with sign and payload;
    it may become quiet. Several times as fast as numpy where the processor converts itself:
    benchmarks/format/test_widen.py. Releases the GIL; needs no memory. Thread-safe.
    Raises OutputArrayError.
    """
    from lzr2 import kernels, past_caches

    _check("values", values, np.float16)
    check_singles(out)
    if values.shape != out.shape:
        raise OutputArrayError("output size", found=out.shape, expected=f"{values.shape}")
    halves, singles = values.view(np.uint16), out.view(np.uint32)
    if not kernels.CONVERTS_IN_HARDWARE:
        kernels.widen(halves, singles, lattice.widening_table().view(np.uint32))
    elif out.nbytes >= past_caches.WORTH_NBYTES:
        past_caches.extend(halves, singles)
    else:
        past_caches.extend_near(halves, singles)


def check_singles(out: Any) -> None:
    """Raises OutputArrayError unless compiled loops may write float32 values to this array."""
    _check("out", out, np.float32)
    if not (out.flags.writeable and out.flags.aligned):
        raise OutputArrayError("output memory", expected="writable and aligned")


def _check(name: str, array: Any, dtype: type[np.floating[Any]]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        found = getattr(array, "dtype", type(array).__name__)
        raise OutputArrayError(name, found=found, expected=f"a contiguous row of {dtype.__name__}")
