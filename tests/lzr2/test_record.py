"""A record's offsets join without a gap; sections that don't fit each other are no tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lzr2
from lzr2 import RecordInfo
from lzr2.byte_source import BytesSource
from lzr2.errors import InvalidTensorError

from .reference import simple_record


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 11))
def test_the_sections_follow_each_other_and_fill_the_record(rows: int, columns: int, d: int) -> None:
    data = b"LZR2" + simple_record("key", rows, columns, d)
    (info,) = lzr2.Index.of_source(BytesSource(data)).records
    assert (info.n_rows, info.n_columns, info.n_weights) == (rows, columns, rows * columns)
    assert info.start == 4
    assert info.end == len(data) == 4 + info.record_nbytes
    assert info.aux_start == info.payload_start + 4
    assert info.offset_start == info.aux_start + info.aux_nbytes
    assert info.scale_start == info.offset_start + info.offset_nbytes
    assert info.indices_start == info.scale_start + info.scale_nbytes + 4
    assert info.overlay_start == info.indices_start + info.indices_nbytes + 4
    assert info.end == info.overlay_start + info.overlay_nbytes
    assert info.payload_nbytes == info.end - info.payload_start
    parts = (info.aux_nbytes, info.offset_nbytes, info.scale_nbytes, info.indices_nbytes, info.overlay_nbytes)
    assert info.header_nbytes + sum(parts) == info.record_nbytes


def test_a_record_without_payload_is_all_header() -> None:
    info = RecordInfo("a", (2, 3), 4, 30, 30)
    assert not info.has_payload
    assert info.record_nbytes == info.header_nbytes == 26
    assert info.aux_nbytes == info.offset_nbytes == info.scale_nbytes == info.overlay_nbytes == 0


def tensor(**changes: Any) -> lzr2.EncodedTensor:
    sections: dict[str, Any] = {
        "shape": (2, 4),
        "d": 2,
        "offset": np.zeros(2, np.float32),
        "scale": np.ones(2, np.float32),
        "indices": np.zeros((2, 2), np.uint16),
        "overlay_rows": np.array([1], np.uint16),
        "overlay_columns": np.array([3], np.uint16),
        "overlay_values": np.array([0.5], np.float32),
    }
    return lzr2.EncodedTensor(**sections | changes)


def test_sections_that_fit() -> None:
    whole = tensor()
    assert (whole.n_weights, whole.n_rows, whole.n_columns, whole.n_blocks) == (8, 2, 4, 2)
    assert (whole.overlay_count, whole.entry_nbytes) == (1, 8)
    assert replace(whole, aux=np.zeros((2, 2), np.float32)).overlay_count == 1


def test_without_an_overlay_there_are_no_entries() -> None:
    sections: dict[str, Any] = {name: getattr(tensor(), name) for name in ("shape", "d", "offset", "scale", "indices")}
    assert lzr2.EncodedTensor(**sections).overlay_count == 0


def test_more_entries_than_their_count_can_tell() -> None:
    n = 2**32
    with pytest.raises(InvalidTensorError, match="overlay entries"):
        tensor(
            overlay_rows=np.broadcast_to(np.uint16(0), (n,)),
            overlay_columns=np.broadcast_to(np.uint16(0), (n,)),
            overlay_values=np.broadcast_to(np.float32(0), (n,)),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": ()},
        {"shape": (2,) * 9},
        {"shape": (2**32, 1)},
        {"shape": (2, 5, 2**32 - 1)},
        {"d": 0},
        {"d": 33},
        {"offset": np.zeros(3, np.float32)},
        {"scale": np.zeros(2, np.float64)},
        {"scale": np.zeros(2, np.int32)},
        {"aux": np.zeros((2, 3), np.float32)},
        {"indices": np.zeros((3, 2), np.uint16)},
        {"indices": np.zeros((2, 2), np.int16)},
        {"indices": np.full((2, 2), 9, np.uint16)},
        {"indices": np.zeros((2, 69), np.uint16)},
        {"overlay_rows": np.array([2], np.uint16)},
        {"overlay_columns": np.array([4], np.uint16)},
        {"overlay_columns": np.array([0, 1], np.uint16)},
        {"overlay_values": np.array([1], np.int32)},
        {"overlay_values": np.array([1], np.float64)},
    ],
)
def test_sections_that_do_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTensorError):
        tensor(**changes)
