"""The safetensors source against the safetensors library."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from streamer.errors import WeightsFileError
from streamer.sources.safetensors import SafetensorsSource
from tests.streamer.sources.bits import raw, raw_as_cast

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OTHERS = [torch.float8_e4m3fn, torch.float8_e5m2]
OTHERS += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
in_a_directory = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def tensors(draw):
    """Tensors by key, of random bits."""
    shape = st.lists(st.integers(0, 5), max_size=4)
    rows = draw(st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(shape, st.sampled_from(FLOATS)), max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return {
        key: torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator)
        .view(dtype)
        .reshape(shape)
        for key, (shape, dtype) in rows.items()
        if key != "__metadata__"
    }


def saved(path: Path, given_tensors: dict[str, torch.Tensor]) -> Path:
    save_file(given_tensors, path, metadata={"format": "pt"})
    return path


def read(source: SafetensorsSource, key: str, dtype: torch.dtype) -> torch.Tensor:
    out = torch.full(source.info(key).shape, 77, dtype=dtype)
    source.read_into(key, out)
    return out


@pytest.mark.parametrize("io", ["pread", "mmap"])
@in_a_directory
@given(given_tensors=tensors())
def test_the_same_keys_shapes_and_bits_as_the_library(given_tensors, io, tmp_path):
    path = saved(tmp_path / "a.safetensors", given_tensors)
    expected = load_file(path)
    source = SafetensorsSource([path], io)
    assert set(source.keys()) == set(expected)
    for key, tensor in expected.items():
        info = source.info(key)
        assert info.shape == tuple(tensor.shape)
        assert info.stored_nbytes == info.held_nbytes == tensor.nbytes
        assert raw(read(source, key, tensor.dtype)) == raw(tensor)
    source.close()


@in_a_directory
@given(given_tensors=tensors(), wanted=st.sampled_from(FLOATS))
def test_values_are_cast_as_torch_casts_read_or_held(given_tensors, wanted, tmp_path):
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", given_tensors)])
    for key, tensor in given_tensors.items():
        held = source.hold(key)
        out = torch.full(tensor.shape, 77, dtype=wanted)
        held.write_into(out)
        assert held.nbytes == tensor.nbytes
        assert raw_as_cast(out) == raw_as_cast(read(source, key, wanted)) == raw_as_cast(tensor.to(wanted))
    source.close()


@pytest.mark.parametrize("dtype", OTHERS)
def test_types_that_are_rare_in_weights_are_read_too(tmp_path, dtype):
    tensor = torch.arange(100).to(dtype)
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": tensor})])
    assert raw(read(source, "a", torch.float32)) == raw(tensor.to(torch.float32))
    assert raw(read(source, "a", dtype)) == raw(tensor)


def test_a_held_tensor_does_not_need_the_file(tmp_path):
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": torch.ones(3)})])
    held = source.hold("a")
    source.close()
    out = torch.zeros(3)
    held.write_into(out)
    assert out.tolist() == [1, 1, 1]


def test_several_files_are_one_source(tmp_path):
    paths = [saved(tmp_path / f"{i}.safetensors", {f"k{i}": torch.full((2,), float(i))}) for i in range(3)]
    source = SafetensorsSource(paths)
    assert source.name == f"{paths[0]} (and 2 more)"
    assert [read(source, f"k{i}", torch.float32).tolist() for i in range(3)] == [[0, 0], [1, 1], [2, 2]]


def test_a_key_in_two_files_is_an_error_that_names_both(tmp_path):
    paths = [saved(tmp_path / f"{i}.safetensors", {"same": torch.ones(2)}) for i in range(2)]
    with pytest.raises(WeightsFileError) as caught:
        SafetensorsSource(paths)
    assert str(paths[0]) in str(caught.value)
    assert str(paths[1]) in str(caught.value)
    assert "'same'" in str(caught.value)


def test_an_unknown_key_is_a_key_error(tmp_path):
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": torch.ones(3)})])
    for call in (source.info, source.hold, source.will_need, lambda key: source.read_into(key, torch.empty(3))):
        with pytest.raises(KeyError, match="b"):
            call("b")


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_four_threads_read_the_same(tmp_path, io):
    given_tensors = {f"k{i}": torch.randn(1000 + i) for i in range(20)}
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", given_tensors)], io)
    results: list[dict[str, bytes]] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        results.append({key: raw(read(source, key, torch.float16)) for key in given_tensors for _ in range(3)})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{key: raw(tensor.half()) for key, tensor in given_tensors.items()}] * 4


STORED = [torch.float32, torch.float16, torch.bfloat16]
"""Read as it is, widened, cast."""


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_a_file_cut_short_while_open_is_an_error(tmp_path, io, stored):
    path = saved(tmp_path / "a.safetensors", {"a": torch.ones(10_000, dtype=stored)})
    source = SafetensorsSource([path], io)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4)
    with pytest.raises(WeightsFileError, match="while in use"):
        read(source, "a", torch.float32)


@pytest.mark.parametrize("stored", STORED)
def test_a_file_rewritten_while_open_is_an_error_not_other_weights(tmp_path, stored):
    path = saved(tmp_path / "a.safetensors", {"a": torch.ones(100, dtype=stored)})
    source = SafetensorsSource([path])
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"\0\0\0\0")
    with pytest.raises(WeightsFileError, match="rewritten"):
        source.hold("a")
    with pytest.raises(WeightsFileError, match="rewritten"):
        read(source, "a", torch.float32)


@pytest.mark.parametrize("stored", STORED)
def test_a_closed_source_says_so_and_a_hint_to_it_does_nothing(tmp_path, stored):
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": torch.ones(3, dtype=stored)})])
    source.will_need("a")
    source.close()
    source.close()
    source.will_need("a")
    with pytest.raises(WeightsFileError, match="closed"):
        source.hold("a")
    with pytest.raises(WeightsFileError, match="closed"):
        read(source, "a", torch.float32)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("wanted", [torch.float16, torch.float32])
def test_rows_are_read_without_the_others(tmp_path, io, wanted):
    tensor = torch.rand(7, 3, 2).half()
    source = SafetensorsSource([saved(tmp_path / "a", {"a": torch.rand(5), "w": tensor})], io)
    read: list[int] = []
    source.observe_reads(lambda start, end, nbytes: read.append(nbytes))
    for first in range(8):
        for n_rows in range(8 - first):
            read.clear()
            out = torch.empty(n_rows, 3, 2, dtype=wanted)
            source.read_rows_into("w", first, out)
            assert out.equal(tensor[first : first + n_rows].to(wanted))
            assert sum(read) == n_rows * 12
            source.will_need_rows("w", first, n_rows)
            source.wont_need_rows("w", first, n_rows)
    source.close()


@pytest.mark.parametrize(("key", "first", "n_rows"), [("w", 0, 8), ("w", 7, 1), ("w", -1, 2), ("s", 0, 1)])
def test_rows_that_are_not_there_are_refused(tmp_path, key, first, n_rows):
    source = SafetensorsSource([saved(tmp_path / "a", {"w": torch.rand(7, 2), "s": torch.tensor(1.0)})])
    with pytest.raises(ValueError, match="of a tensor of shape"):
        source.read_rows_into(key, first, torch.empty(n_rows, 2))
    for hint in (source.will_need_rows, source.wont_need_rows):
        with pytest.raises(ValueError, match="of a tensor of shape"):
            hint(key, first, n_rows)
    source.close()


def test_a_tensor_of_several_pieces_is_cast_whole(tmp_path):
    values = torch.randn(3, 700_001).half()
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": values, "b": values.bfloat16()})])
    assert torch.equal(read(source, "a", torch.float32), values.float())
    assert torch.equal(read(source, "b", torch.float64), values.bfloat16().double())
    with pytest.raises(ValueError, match="5 elements"):
        source.read_into("a", torch.empty(5))
    source.close()


def test_whatever_the_default_device_is_it_is_held_in_host_memory(tmp_path):
    source = SafetensorsSource([saved(tmp_path / "a.safetensors", {"a": torch.arange(3.0)})])
    out = torch.empty(3)
    with torch.device("meta"):
        source.hold("a").write_into(out)
    assert out.tolist() == [0, 1, 2]
    source.close()


def test_a_file_that_cannot_be_closed_keeps_no_other_open(tmp_path, monkeypatch):
    paths = [saved(tmp_path / f"{key}.safetensors", {key: torch.ones(2)}) for key in "ab"]
    source = SafetensorsSource(paths)
    first, second = source._files
    closed: list[str] = []

    def fail() -> None:
        raise OSError("gone")

    monkeypatch.setattr(first, "close", fail)
    monkeypatch.setattr(second, "close", lambda: closed.append("second"))
    with pytest.raises(OSError, match="gone"):
        source.close()
    assert closed == ["second"]
    monkeypatch.undo()
    source.close()
