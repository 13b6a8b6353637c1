"""What an index says of a record is compared with every number of its header."""

from __future__ import annotations

import dataclasses

import pytest

import lzr2
from lzr2.byte_source import BytesSource
from lzr2.headers import describes

from .reference import header, simple_record
from .reference import lzr2 as lzr2_bytes

DATA = lzr2_bytes(simple_record("a"), header("b", (2, 3), 0), simple_record("c", seed=2))


def test_a_true_index_describes_every_record():
    source = BytesSource(DATA)
    records = lzr2.Index.of_source(source).records
    assert len(records) == 3
    assert all(describes(source, record) for record in records)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"key": "b"}),
        (0, {"shape": (20, 3)}),
        (0, {"d": 9}),
        (0, {"z_nbytes": 5}),
        (0, {"overlay_count": 1}),
        (0, {"start": 5, "payload_start": 10}),
        (1, {"shape": (3, 2)}),
        (1, {"key": ""}),
        (0, {"d": 0}),
    ],
)
def test_any_number_that_differs_is_noticed(number, change):
    source = BytesSource(DATA)
    record = lzr2.Index.of_source(source).records[number]
    assert not describes(source, dataclasses.replace(record, **change))


def test_a_record_without_payload_is_told_from_one_with():
    source = BytesSource(lzr2_bytes(header("b", (2, 3), 1) + b"\x01\0\0\0" + bytes(40)))
    record = lzr2.RecordInfo("b", (2, 3), 4, 22, 22)
    assert not describes(source, record)
