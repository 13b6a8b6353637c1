"""Compiled functions do what they say, with and without a folder to keep them in."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from lzr2 import compiled


def test_a_folder_that_cannot_be_written_only_costs_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def njit(*args: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.compiled(lambda x: x + 1)(1) == 2


@numba.njit
def _eight_bytes(data: Any, at: int) -> Any:
    return compiled.load_u64(np.uint64(data.ctypes.data) + np.uint64(at))


@numba.njit
def _two_bytes(data: Any, at: int, value: Any) -> None:
    compiled.store_u16(np.uint64(data.ctypes.data) + np.uint64(at), value)


@pytest.mark.parametrize("at", range(9))
def test_memory_is_read_and_written_wherever_it_is(at: int) -> None:
    data = np.arange(32, dtype=np.uint8)
    assert _eight_bytes(data, at) == int.from_bytes(bytes(range(at, at + 8)), "little")
    _two_bytes(data, at, np.uint64(0xABCD_1234_5678_EEFF))
    assert data.tolist() == [*range(at), 0xFF, 0xEE, *range(at + 2, 32)]
