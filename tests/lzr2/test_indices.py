"""Indices come out the same whichever decoder read them; what is read twice is announced before."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest

import lzr2
from lzr2 import deflate, indices, inflate, layout
from lzr2.byte_source import BytesSource
from lzr2.errors import IndexValueError, Lzr2Error
from lzr2.indices import check_indices, read_indices

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


def test_a_shape_far_larger_than_its_stream_takes_no_memory(content) -> None:
    n_columns = 20_000 * BLOCKS * D // ROWS  # 24 MB of indices by its shape
    assert 2 * ROWS * n_columns // D > indices._COUNT_FIRST_NBYTES
    source, info = source_of(content, zlib.compress(content.tobytes()), n_columns)
    tracemalloc.start()
    found = read_indices(source, info)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(found, content)
    assert peak < 20 * content.nbytes + (1 << 20)


@pytest.fixture
def nothing_is_kept(monkeypatch) -> None:
    """Every tensor is too large for its file; pieces are of an odd length."""
    monkeypatch.setattr(layout, "max_allocation_nbytes", lambda nbytes: 0)
    monkeypatch.setattr(inflate, "OUTPUT_NBYTES", 7)


@pytest.mark.parametrize("extra", [-BLOCKS + 1, -1, 0, 1, BLOCKS])
def test_checked_piece_by_piece_there_are_as_many(content, extra, nothing_is_kept) -> None:
    wider = np.resize(content, (ROWS, BLOCKS + extra))
    assert check_indices(*source_of(wider, zlib.compress(wider.tobytes()))) == BLOCKS + extra


@pytest.mark.parametrize("row", [0, 17, ROWS - 1])
def test_checked_piece_by_piece_the_first_illegal_one_is_named(content, row, nothing_is_kept) -> None:
    content[row, 5] = 3**D
    content[-1, -1] = 65_535
    arguments = source_of(content, zlib.compress(content.tobytes()))
    with pytest.raises(IndexValueError, match=f"row {row} ") as caught:
        check_indices(*arguments)
    with pytest.raises(IndexValueError) as wanted:
        read_indices(*arguments)
    assert str(caught.value) == str(wanted.value)


def test_checked_piece_by_piece_a_size_that_is_none_is_an_error(content, nothing_is_kept) -> None:
    arguments = source_of(content, zlib.compress(content.tobytes() + b"?"))
    with pytest.raises(Lzr2Error) as caught:
        check_indices(*arguments)
    with pytest.raises(type(caught.value)):
        read_indices(*arguments)
