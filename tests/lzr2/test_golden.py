"""Every vector of tests/data/golden is read bit for bit, in every way there is to read it."""

from __future__ import annotations

import numpy as np
import pytest

import lzr2
from lzr2.file_source import IoMode

from . import reference
from .reference import GOLDEN, bits


@pytest.fixture(params=reference.golden_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def expected(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as tensors:
        return dict(tensors)


def test_there_are_vectors() -> None:
    assert len(reference.golden_names()) == 17


def test_the_reference_decoder_agrees(name: str) -> None:
    decoded = reference.decode((GOLDEN / f"{name}.lzr2").read_bytes())
    assert decoded.keys() == expected(name).keys()
    for key, tensor in expected(name).items():
        assert np.array_equal(bits(decoded[key]), bits(tensor)), key


@pytest.mark.parametrize("io", ["pread", "mmap", "auto"])
def test_whole_tensors(name: str, io: IoMode) -> None:
    with lzr2.open(GOLDEN / f"{name}.lzr2", io=io, sidecar=False) as file:
        tensors = expected(name)
        assert set(file.keys()) == set(tensors)
        for key, tensor in tensors.items():
            assert file.shape(key) == tensor.shape
            assert np.array_equal(bits(file.get_tensor(key)), bits(tensor)), key


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inflated", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_row_ranges(name: str, threads: int, inflated: bool, dtype: type[np.floating]) -> None:
    with lzr2.open((GOLDEN / f"{name}.lzr2").read_bytes()) as file:
        for key, tensor in expected(name).items():
            n_rows = tensor.shape[0]
            with np.errstate(all="ignore"):
                wanted = tensor.astype(dtype)
            for rows in ((0, n_rows), (n_rows // 3, max(n_rows // 3, n_rows - 1)), (n_rows // 2, n_rows), (0, 0)):
                out = np.empty((rows[1] - rows[0], *tensor.shape[1:]), dtype)
                if inflated:
                    lzr2.decode_inflated_into(file.read_inflated(key), out, rows, threads)
                else:
                    file.decode_into(key, out, rows, threads)
                part = np.ascontiguousarray(wanted[slice(*rows)])
                assert out.tobytes() == part.tobytes(), (key, rows)


def test_load_file(name: str) -> None:
    loaded = lzr2.load_file(GOLDEN / f"{name}.lzr2", threads=2)
    assert {k: t.tobytes() for k, t in loaded.items()} == {k: t.tobytes() for k, t in expected(name).items()}


def test_from_bytes(name: str) -> None:
    with lzr2.open((GOLDEN / f"{name}.lzr2").read_bytes()) as file:
        assert {k: file.get_tensor(k).tobytes() for k in file} == {k: t.tobytes() for k, t in expected(name).items()}


def test_sections_add_up(name: str) -> None:
    index = lzr2.Index.build(GOLDEN / f"{name}.lzr2")
    assert sum(index.section_nbytes().values()) == index.file_nbytes == (GOLDEN / f"{name}.lzr2").stat().st_size
