"""A fingerprint changes with whatever could change a file; a record's checksum with each of its bits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lzr2
from lzr2.byte_source import BytesSource
from lzr2.file_source import PreadSource
from lzr2.fingerprint import Fingerprint, fingerprint, record_checksum

from .reference import simple_record


def of(path: Path) -> Fingerprint:
    source = PreadSource(path)
    try:
        return fingerprint(source)
    finally:
        source.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 100)
    os.utime(path, ns=(1, 10**18))
    return path


@pytest.mark.parametrize("place", [0, 4095, -1, -4096])
def test_a_byte_of_head_or_tail_changes_it_though_the_time_does_not(path: Path, place: int) -> None:
    before = of(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 10**18))
    after = of(path)
    assert (after.nbytes, after.mtime_ns, after.inode) == (before.nbytes, before.mtime_ns, before.inode)
    assert after.digest != before.digest


@pytest.mark.parametrize("place", [4096, 10_000, -4097])
def test_a_byte_of_the_middle_changes_only_the_time(path: Path, place: int) -> None:
    before = of(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    after = of(path)
    assert after.digest == before.digest
    assert after != before


def test_the_same_bytes_elsewhere_are_another_file(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "b"
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(1, 10**18))
    assert of(other).digest == of(path).digest
    assert of(other) != of(path)


def test_an_empty_file_has_one(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert of(tmp_path / "a").nbytes == 0


def test_every_bit_of_a_record_is_in_its_checksum_and_none_of_its_neighbours() -> None:
    data = b"LZR2" + simple_record("a") + simple_record("b", seed=1) + simple_record("c", seed=2)
    record = lzr2.Index.of_source(BytesSource(data)).records[1]
    before = record_checksum(BytesSource(data), record)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        same = record_checksum(BytesSource(bytes(changed)), record) == before
        assert same == (not record.start <= at < record.end)
