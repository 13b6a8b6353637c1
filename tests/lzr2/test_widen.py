"""Float16 to float32, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import kernels
from lzr2.errors import OutputArrayError

EVERY = np.arange(65_536, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("in_hardware", [True, False])
def test_every_pattern(in_hardware: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if in_hardware and not kernels.CONVERTS_IN_HARDWARE:
        pytest.skip("this processor can't")
    monkeypatch.setattr(kernels, "CONVERTS_IN_HARDWARE", in_hardware)
    out = np.empty(65_536, np.float32)
    lzr2.widen(EVERY, out)
    with np.errstate(all="ignore"):
        wanted = EVERY.astype(np.float32)
    numbers = ~np.isnan(wanted)
    assert np.array_equal(out[numbers].view(np.uint32), wanted[numbers].view(np.uint32))
    quiet = np.uint32(1 << 22)
    assert np.array_equal(out[~numbers].view(np.uint32) | quiet, wanted[~numbers].view(np.uint32) | quiet)


@settings(deadline=None)  # the first one compiles
@given(st.integers(0, 300), st.integers(0, 40))
def test_any_length_and_place(n: int, start: int) -> None:
    out = np.full(400, 7, np.float32)
    lzr2.widen(EVERY[start : start + n], out[start : start + n])
    assert np.array_equal(out[start : start + n], EVERY[start : start + n].astype(np.float32))
    assert (np.delete(out, slice(start, start + n)) == 7).all()


@pytest.mark.parametrize(
    ("values", "out"),
    [
        (np.zeros(3, np.float16), np.zeros(4, np.float32)),
        (np.zeros(3, np.float32), np.zeros(3, np.float32)),
        (np.zeros(3, np.float16), np.zeros(3, np.float64)),
        (np.zeros(6, np.float16)[::2], np.zeros(3, np.float32)),
        (np.zeros(3, np.float16), np.zeros(6, np.float32)[::2]),
        (np.zeros((3, 1), np.float16), np.zeros((3, 1), np.float32)),
        ([0.0] * 3, np.zeros(3, np.float32)),
        (np.zeros(3, np.float16), np.broadcast_to(np.float32(0), 3)),
        (np.zeros(3, np.float16), np.frombuffer(bytearray(14), np.float32, 3, offset=2)),
    ],
)
def test_other_arrays_are_refused(values: object, out: object) -> None:
    with pytest.raises(OutputArrayError):
        lzr2.widen(values, out)  # type: ignore[arg-type]


def test_an_output_that_may_not_be_written_is_refused() -> None:
    out = np.zeros(3, np.float32)
    out.flags.writeable = False
    with pytest.raises(OutputArrayError, match="writable"):
        lzr2.widen(np.zeros(3, np.float16), out)
