"""Indices come out the same whichever decoder read them; what is read twice is announced before."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import lzr2
from lzr2 import deflate, indices
from lzr2.byte_source import BytesSource
from lzr2.errors import Lzr2Error
from lzr2.indices import read_indices

from .reference import record

ROWS, BLOCKS, D = 40, 600, 8


def source_of(content: np.ndarray, stream: bytes, n_columns: int = BLOCKS * D) -> tuple[BytesSource, lzr2.RecordInfo]:
    zeros = np.zeros(ROWS, np.float32)
    source = BytesSource(b"LZR2" + record("t", (ROWS, n_columns), D, zeros, zeros, content, stream=stream))
    return source, lzr2.Index.of_source(source).records[0]


@pytest.fixture
def content() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3**D, (ROWS, BLOCKS)).astype(np.uint16)


class Told:
    """Rows as they were told, since the last restart."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.restarts = 0

    def add(self, read: np.ndarray, first: int, end: int) -> None:
        assert first == len(self.rows)
        self.rows.extend(read[first:end].copy())

    def restart(self) -> None:
        self.restarts += 1
        self.rows.clear()


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "compress", [lambda raw: deflate.compress(memoryview(raw)), zlib.compress, lambda raw: zlib.compress(raw, 0)]
)
def test_the_same_by_either_decoder(content, own, compress, monkeypatch) -> None:
    monkeypatch.setattr(indices, "_LEAST_NBYTES", 0 if own else 1 << 40)
    told = Told()
    found = read_indices(*source_of(content, compress(content.tobytes())), told.add, told.restart)
    assert np.array_equal(found, content)
    assert np.array_equal(told.rows, content)
    assert told.restarts == (0 if own else 1)


@pytest.mark.parametrize("n_blocks", [BLOCKS - 7, BLOCKS + 7])
def test_another_number_of_blocks_is_read_after_a_restart(content, n_blocks) -> None:
    other = np.resize(content, (ROWS, n_blocks))
    told = Told()
    found = read_indices(
        *source_of(other, deflate.compress(other.reshape(-1).view(np.uint8).data)), told.add, told.restart
    )
    assert np.array_equal(found, other)
    assert told.restarts == 1


@pytest.mark.parametrize("own", [True, False])
def test_an_index_beyond_the_lattice_is_named_by_its_row(content, own, monkeypatch) -> None:
    monkeypatch.setattr(indices, "_LEAST_NBYTES", 0 if own else 1 << 40)
    content[31, 5] = 3**D
    with pytest.raises(lzr2.Lzr2Error, match="row 31"):
        read_indices(*source_of(content, zlib.compress(content.tobytes(), 0)))


def test_damage_is_the_same_error_by_either_decoder(content, monkeypatch) -> None:
    stream = bytearray(deflate.compress(content.reshape(-1).view(np.uint8).data))
    for at in (1, 5, 500, len(stream) // 2, len(stream) - 1):
        damaged = stream.copy()
        damaged[at] ^= 0x21
        said = []
        for least in (0, 1 << 40):
            monkeypatch.setattr(indices, "_LEAST_NBYTES", least)
            with pytest.raises(Lzr2Error) as caught:
                read_indices(*source_of(content, bytes(damaged)))
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_stream_that_grows_too_much_is_left_to_zlib(monkeypatch) -> None:
    monkeypatch.setattr(indices, "_LEAST_NBYTES", 0)
    monkeypatch.setattr(indices.inflate, "inflate_exactly", lambda *_: pytest.fail("not by the own decoder"))
    content = np.zeros((ROWS, BLOCKS), np.uint16)
    assert np.array_equal(read_indices(*source_of(content, zlib.compress(content.tobytes()))), content)
