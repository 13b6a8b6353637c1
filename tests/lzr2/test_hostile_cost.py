"""What a stranger's file may cost: at most 64 MiB and a second for a mebibyte, whatever is in it."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2
from lzr2 import errors

from .machine_pace import paced_seconds
from .reference import header, payload, simple_record

LIMIT_NBYTES = 64 << 20
LIMIT_SECONDS = 1.0


MEBIBYTE = 1 << 20


@lru_cache
def zeros(nbytes: int) -> bytes:
    """A stream of zeros, cut before its checksum."""
    stream = zlib.compressobj(1)
    pieces = [stream.compress(bytes(MEBIBYTE)) for _ in range(nbytes // MEBIBYTE)]
    return b"".join((*pieces, stream.flush()))[:-4]


def whole_zeros(nbytes: int) -> bytes:
    """A stream of zeros with the checksum that is theirs."""
    return zeros(nbytes) + struct.pack(">I", nbytes % 65_521 << 16 | 1)


def bomb_in_many_rows() -> bytes:
    rows = 60_000
    return payload((rows, 1), 1, zeros(16 * MEBIBYTE) + b"bad!")


def blocks_of_nothing() -> bytes:
    """A stream of fixed Huffman blocks, each only its end: ten bits that ask for tables."""
    block = np.zeros(10, np.uint8)
    block[1] = 1
    return payload((1, 131_072), 8, b"\x78\x01" + np.packbits(np.tile(block, 800_000), bitorder="little").tobytes())


@pytest.mark.parametrize("shape", [(1, 2**31, 4), (1, 2**23 + 1)])
def test_what_is_far_larger_than_its_file_is_decoded_only_into_an_array_of_the_callers(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "hostile.lzr2"
    path.write_bytes(payload(shape, 8, zlib.compress(b"")))
    with pytest.raises(errors.ShapeError, match="in a file of") as caught:
        lzr2.load_file(path)
    assert (caught.value.path, caught.value.key, caught.value.offset) == (str(path), "a", 4)
    with lzr2.open(path) as file:
        with pytest.raises(errors.ShapeError, match="decode_into"):
            file.get_tensor("a")
        with pytest.raises(errors.ShapeError, match="decode_into"):
            file.read_inflated("a")
        if shape[1] < 2**24:
            out = np.full(shape, 7, np.float16)
            file.decode_into("a", out)
            assert not out.any()
    report = lzr2.verify(path)
    assert report.ok()
    assert "huge" in [finding.kind for finding in report.findings]


EXPENSIVE: dict[str, Callable[[], bytes]] = {
    "records without payload": lambda: b"LZR2" + header("", (), 0) * 8192,
    "tiny records": lambda: b"LZR2" + payload((0,), 1, zlib.compress(b""), key="")[4:] * 8192,
    "tiny records with different keys": lambda: b"LZR2" + b"".join(header(str(i), (1,), 0) for i in range(8192)),
    "bomb that its shape justifies": lambda: payload((1, 2**24), 1, zeros(32 * MEBIBYTE) + b"bad!"),
    "bomb in many rows": bomb_in_many_rows,
    "long key": lambda: b"LZR2" + struct.pack("<I", MEBIBYTE) + b"k" * (MEBIBYTE - 9),
    "valid bomb": lambda: payload((1, 2**23), 1, zlib.compress(bytes(2 * 2**23))),
    "valid bomb of a shape that justifies it": lambda: payload((1, 7 * 2**24), 1, whole_zeros(224 * MEBIBYTE)),
    "valid bomb of rows too long": lambda: payload((1, 2**23), 1, zlib.compress(bytes(2 * (2 * 2**23 + 64)))),
    "valid bomb in many rows": lambda: payload((65_000, 1), 1, zlib.compress(bytes(2 * 65_000 * 66))),
    "blocks of nothing": blocks_of_nothing,
    "blocks of nothing, stored": lambda: payload((1, 131_072), 8, b"\x78\x01" + b"\0\0\0\xff\xff" * 200_000),
    "tensors without lattice": lambda: b"LZR2" + payload((1, 2**23), 1, zlib.compress(b""), key="")[4:] * 8190,
    "different tensors without lattice": lambda: (
        b"LZR2" + b"".join(payload((1, 2**22), 1, zlib.compress(b""), key=f"{i:x}")[4:] for i in range(8190))
    ),
    "one bomb after another": lambda: b"LZR2" + payload(stream=zeros(20 * MEBIBYTE))[4:] * 11,
}


def load(data: bytes, folder: Path) -> str:
    path = folder / "hostile.lzr2"
    path.write_bytes(data)
    return f"{len(lzr2.load_file(path))} tensors"


def read_one_by_one(data: bytes, folder: Path) -> str:
    """The first few, whole and inflated."""
    with lzr2.open(data) as file:
        for key in file.keys()[:2]:
            file.get_tensor(key)
            file.read_inflated(key)
    return "read"


def verify(data: bytes, folder: Path) -> str:
    return f"{len(lzr2.verify(data).findings)} findings"


WAYS = (load, read_one_by_one, verify)


def read_or_fail(way: Callable[[bytes, Path], str], data: bytes, folder: Path) -> str:
    try:
        return way(data, folder)
    except lzr2.Lzr2Error as error:
        return type(error).__name__


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EXPENSIVE)
def test_a_mebibyte_costs_at_most_64(name: str, way: Any, tmp_path: Path) -> None:
    data = EXPENSIVE[name]()
    assert len(data) <= MEBIBYTE
    read_or_fail(way, b"LZR2" + simple_record(), tmp_path)  # compiling needs memory too
    tracemalloc.start()
    outcome = read_or_fail(way, data, tmp_path)
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grown < LIMIT_NBYTES, outcome


@pytest.mark.timing
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EXPENSIVE)
def test_a_mebibyte_costs_at_most_a_second(name: str, way: Any, tmp_path: Path) -> None:
    data = EXPENSIVE[name]()
    read_or_fail(way, b"LZR2" + simple_record(), tmp_path)
    assert paced_seconds(lambda: read_or_fail(way, data, tmp_path), tries=3) < LIMIT_SECONDS
