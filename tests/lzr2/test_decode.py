"""Any record the format allows decodes as the reference does, whole, by rows, with threads and from memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import decode as decode_module
from lzr2 import errors, past_caches

from . import reference
from .reference import bits, record, simple_record


@st.composite
def records(draw: st.DrawFn) -> bytes:
    d = draw(st.integers(1, 13))
    n_rows = draw(st.integers(1, 5))
    rest = draw(st.lists(st.integers(1, 12), max_size=2))
    columns = int(np.prod(rest, dtype=np.int64)) if rest else 1
    sane = -(-columns // d)
    blocks = draw(st.sampled_from([sane, sane, columns // d, 0, sane + 1, sane + 40, 2 * sane + 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wild = draw(st.booleans())
    tables = rng.normal(0, 1, (2, n_rows)).astype(np.float32)
    if wild:
        tables = rng.integers(0, 2**32, (2, n_rows), dtype=np.uint64).astype(np.uint32).view(np.float32)
    entries = [
        (int(rng.integers(n_rows + 1)), int(rng.integers(columns + 1)), float(v))
        for v in rng.normal(0, 10.0 ** rng.integers(-9, 6), draw(st.integers(0, 30)))
    ]
    if draw(st.booleans()):
        entries.sort(key=lambda entry: entry[:2])
    indices = rng.integers(0, min(3**d, 65536), (n_rows, blocks)).astype(np.uint16)
    return record(draw(st.text(max_size=5)), (n_rows, *rest), d, tables[0], tables[1], indices, entries)


@pytest.fixture(params=[0, past_caches.WORTH_NBYTES], ids=["past the caches", "into the caches"])
def stores(request: pytest.FixtureRequest) -> Iterator[None]:
    """How what is decoded is stored, whatever its size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_caches, "WORTH_NBYTES", request.param)
        yield


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(records(), max_size=3), data=st.data())
def test_it_agrees_with_the_reference(stores: None, parts: list[bytes], data: st.DataObject) -> None:
    content = b"LZR2" + b"".join(parts)
    wanted = reference.decode(content)
    with lzr2.open(content) as file:
        assert set(file.keys()) == set(wanted)
        for key, tensor in wanted.items():
            assert np.array_equal(bits(file.get_tensor(key)), bits(tensor))
            first = data.draw(st.integers(0, tensor.shape[0]))
            end = data.draw(st.integers(first, tensor.shape[0]))
            threads = data.draw(st.integers(1, 3))
            part = np.ascontiguousarray(tensor[first:end])
            for dtype in (np.float16, np.float32):
                with np.errstate(all="ignore"):
                    expected = part.astype(dtype).tobytes()
                out = np.empty(part.size, dtype)
                file.decode_into(key, out, (first, end), threads)
                assert out.tobytes() == expected
                out[:] = 0
                lzr2.decode_inflated_into(file.read_inflated(key), out, (first, end), threads)
                assert out.tobytes() == expected
        assert lzr2.verify(content).ok()


def large_record(order: str, wide: bool = False, n: int = 120_000) -> bytes:
    """Enough overlay for several threads."""
    rng = np.random.default_rng(1)
    shape = (70_000, 8) if wide else (600, 400)
    rows, columns = rng.integers(0, shape[0] + 1, n), rng.integers(0, shape[1] + 1, n)
    if order == "sorted":
        rows = np.sort(rows)
    elif order == "nearly":
        rows = np.sort(rows)
        rows[[5, -5]] = rows[[-5, 5]]
    return record(
        "t",
        shape,
        4,
        rng.normal(size=shape[0]),
        rng.normal(size=shape[0]),
        rng.integers(0, 81, (shape[0], shape[1] // 4)).astype(np.uint16),
        zip(rows.tolist(), columns.tolist(), rng.normal(size=n).tolist(), strict=True),
    )


@pytest.mark.parametrize("order", ["sorted", "nearly", "random"])
@pytest.mark.parametrize("wide", [False, True])
def test_threads_keep_the_order_of_overlay_entries(
    order: str, wide: bool, stores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_module.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(decode_module, "_OVERLAY_PIECE_NBYTES", 24 * 512)
    data = b"LZR2" + large_record(order, wide)
    wanted = reference.decode(data)["t"]
    with lzr2.open(data) as file:
        assert file.record("t").entry_nbytes == (12 if wide else 8)
        for threads in (1, 2, 3, 4):
            for dtype in (np.float16, np.float32):
                out = np.empty(wanted.shape, dtype)
                file.decode_into("t", out, threads=threads)
                assert np.array_equal(out.astype(np.float16), wanted), (threads, dtype)
            inflated = file.read_inflated("t")
            half = np.empty(wanted.shape, np.float16)
            lzr2.decode_inflated_into(inflated, half, threads=threads)
            assert np.array_equal(bits(half), bits(wanted))


def test_inflated_tensors_need_no_file_and_know_their_size() -> None:
    data = b"LZR2" + large_record("random")
    wanted = reference.decode(data)["t"]
    with lzr2.open(data) as file:
        inflated = file.read_inflated("t")
    out = np.empty(wanted.shape, np.float16)
    lzr2.decode_inflated_into(inflated, out)
    assert np.array_equal(bits(out), bits(wanted))
    assert bool(np.all(inflated.overlay_positions[1:] > inflated.overlay_positions[:-1]))
    n = inflated.overlay_positions.size
    assert inflated.nbytes == 2 * 600 * 100 + 6 * 600 + 6 * n
    for array in (inflated.indices, inflated.levels, inflated.overlay_positions, inflated.overlay_values):
        assert array.base is None or array.base.nbytes == array.nbytes  # nothing larger is kept alive


def test_bad_indices_in_an_inflated_tensor_are_refused() -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file:
        inflated = file.read_inflated("a.weight")
    inflated.indices[1, 1] = 3**8
    with pytest.raises(errors.IndexValueError, match="row 1"):
        lzr2.decode_inflated_into(inflated, np.empty((3, 20), np.float16))


@pytest.mark.parametrize(
    "out",
    [
        np.empty((3, 20), np.float64),
        np.empty((3, 20), np.uint16),
        np.empty((3, 19), np.float16),
        np.empty((20, 3), np.float16).T[:, ::-1],
        np.empty((6, 20), np.float16)[::2],
        [0.0] * 60,
    ],
)
def test_buffers_that_do_not_fit(out: np.ndarray) -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file:
        inflated = file.read_inflated("a.weight")
        with pytest.raises(errors.OutputArrayError, match="output"):
            file.decode_into("a.weight", out)
        with pytest.raises(errors.OutputArrayError):
            lzr2.decode_inflated_into(inflated, out)


def test_a_read_only_buffer() -> None:
    out = np.empty((3, 20), np.float16)
    out.flags.writeable = False
    with lzr2.open(b"LZR2" + simple_record()) as file, pytest.raises(errors.OutputArrayError, match="writable"):
        file.decode_into("a.weight", out)


@pytest.mark.parametrize("rows", [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_rows_that_do_not_exist(rows: tuple[int, int]) -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file, pytest.raises(errors.RowRangeError, match="within 0 to 3"):
        file.decode_into("a.weight", np.empty(0, np.float16), rows)


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module.os, "cpu_count", lambda: 4)
    with lzr2.open(b"LZR2" + simple_record()) as file:
        inflated = file.read_inflated("a.weight")
    inflated.indices[2, 0] = 60_000
    before = threading.active_count()
    with pytest.raises(errors.IndexValueError):
        lzr2.decode_inflated_into(inflated, np.empty((3, 20), np.float16), threads=3)
    assert threading.active_count() == before


@pytest.mark.parametrize("rows", [(0,), ("a", 1), (0, 1, 2), 3, (0.5, 1)])
def test_rows_that_are_no_range_are_a_typed_error(rows: Any) -> None:
    with lzr2.open(b"LZR2" + simple_record("a")) as file, pytest.raises(errors.RowRangeError):
        file.decode_into("a", np.empty((3, 20), np.float16), rows=rows)


@pytest.mark.parametrize("n_first", [1, 2])
def test_rows_told_again_get_their_overlay_again(n_first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the own decoder leaves a stream to zlib half way."""
    entries = [(0, 3, 1.5), (1, 4, 2.5), (2, 19, 3.5)]
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 81, (3, 5)).astype(np.uint16)
    data = b"LZR2" + record("a", (3, 20), 4, np.zeros(3), np.ones(3), indices, entries)
    real = decode_module.read_indices

    def told_twice(source: Any, info: Any, on_rows: Any, on_restart: Any) -> Any:
        found = real(source, info)
        on_rows(found[:n_first], 0, n_first)
        on_restart()
        on_rows(found, 0, 3)
        return found

    monkeypatch.setattr(past_caches, "WORTH_NBYTES", 0)
    monkeypatch.setattr(decode_module, "read_indices", told_twice)
    out = np.empty((3, 20), np.float32)
    with lzr2.open(data) as file:
        file.decode_into("a", out)
    assert np.array_equal(out, reference.decode(data)["a"].astype(np.float32))
    assert [float(out[row, column]) for row, column, _ in entries] == [1.5, 2.5, 3.5]
