"""A source whose tensors lie elsewhere: the same values bit for bit, and no byte read that isn't needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from streamer.errors import WeightsFileError
from streamer.sources.place import Place
from streamer.sources.placed import PlacedSource
from streamer.sources.safetensors import SafetensorsSource
from tests.streamer.sources.bits import raw
from tests.streamer.tower import MemorySource

TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


@pytest.fixture
def below():
    return MemorySource({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])})


def of_kind(kind: str, tensors: dict[str, torch.Tensor], tmp_path):
    if kind == "memory":
        return MemorySource(tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "w.safetensors")
    return SafetensorsSource([tmp_path / "w.safetensors"])


def test_tensors_are_found_under_the_new_keys_and_no_others(below):
    source = PlacedSource(below, {"x": Place("a"), "y": Place("gone")})
    assert set(source.keys()) == {"x"}
    assert list(source.mentioned()) == [("x", (2,))]
    assert source.info("x") == below.info("a")
    out, held = torch.empty(2), torch.empty(2)
    source.read_into("x", out)
    source.hold("x").write_into(held)
    assert out.tolist() == held.tolist() == [1, 2]
    for key in ("a", "y"):
        with pytest.raises(KeyError):
            source.info(key)
        with pytest.raises(KeyError):
            source.read_into(key, out)


def test_strays_are_mentioned_under_their_own_names(below):
    source = PlacedSource(below, {"x": Place("a")}, strays=("b", "nothing"))
    assert list(source.mentioned()) == [("x", (2,)), ("b", (1,))]
    assert set(source.keys()) == {"x"}


def test_hints_observers_names_and_the_end_reach_the_source_below(below):
    source = PlacedSource(below, {"x": Place("a"), "y": Place("a", 0, 2)})
    assert (source.name, source.label) == (below.name, below.label)
    for key in "xy":
        source.will_need(key)
        source.wont_need(key)
    assert below.hints == [("will need", "a"), ("won't need", "a")] * 2
    seen = []
    source.observe_reads(lambda *read: seen.append(read))
    source.read_into("x", torch.empty(2))
    assert len(seen) == 1
    source.close()
    assert below.closed


@pytest.mark.parametrize("kind", ["memory", "safetensors"])
@pytest.mark.parametrize("stored", TYPES, ids=str)
@pytest.mark.parametrize("wanted", TYPES, ids=str)
@pytest.mark.parametrize("change", ["rows", "flat", "transposed", "all"])
def test_values_are_those_of_the_plain_operations(tmp_path, kind, stored, wanted, change):
    tensor = torch.randn(300, 211, generator=torch.Generator().manual_seed(0)).to(stored)  # more than one piece
    if change in ("flat", "all"):
        tensor = tensor[:, :, None, None]
    parts = 3 if change in ("rows", "all") else 1
    for part in range(parts):
        with_source = of_kind(kind, {"w": tensor}, tmp_path)
        place = Place("w", part, parts, flat=change in ("flat", "all"), transposed=change in ("transposed", "all"))
        source = PlacedSource(with_source, {"x": place})
        expected = tensor[part * 100 : part * 100 + 100] if parts == 3 else tensor
        if place.flat:
            expected = expected.reshape(expected.shape[:2])
        if place.transposed:
            expected = expected.t()
        info = source.info("x")
        assert info.shape == tuple(expected.shape)
        assert info.dtype == stored
        assert info.held_nbytes == expected.nbytes
        assert (info.inflated, info.origin) == (None, None)
        assert list(source.mentioned()) == [("x", info.shape)]
        out, held = torch.empty(info.shape, dtype=wanted), torch.empty(info.shape, dtype=wanted)
        source.read_into("x", out)
        assert raw(out) == raw(expected.to(wanted))
        kept = source.hold("x")
        assert kept.nbytes == info.held_nbytes
        kept.write_into(held)
        assert raw(held) == raw(out)
        source.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from(TYPES[:3]))
def test_only_the_rows_asked_for_are_read(tmp_path_factory, parts, n_rows, n_columns, dtype):
    path = tmp_path_factory.mktemp("rows") / "w.safetensors"
    tensor = torch.rand(parts * n_rows, n_columns).to(dtype)
    save_file({"before": torch.rand(3), "w": tensor}, path)
    below = SafetensorsSource([path], "pread")
    source = PlacedSource(below, {str(i): Place("w", i, parts) for i in range(parts)})
    read: list[int] = []
    source.observe_reads(lambda start, end, nbytes: read.append(nbytes))
    for i in range(parts):
        out = torch.empty(n_rows, n_columns, dtype=dtype)
        source.read_into(str(i), out)
        assert out.equal(tensor[i * n_rows :][:n_rows])
        assert source.info(str(i)).stored_nbytes == out.nbytes
    assert read == [tensor.nbytes // parts] * parts
    source.close()


def test_hints_are_of_the_rows_alone(tmp_path, monkeypatch):
    below = of_kind("safetensors", {"w": torch.rand(6, 4)}, tmp_path)
    hints: list[tuple[str, int, int]] = []
    (file,) = below._files
    start = file.nbytes - 96
    for name in ("will_need", "done_with", "wont_need"):
        monkeypatch.setattr(file, name, lambda offset, n, name=name: hints.append((name, offset - start, n)))
    source = PlacedSource(below, {"x": Place("w", 1, 3), "y": Place("w", transposed=True)})
    for key in "xy":
        source.will_need(key)
        source.wont_need(key)
    of_x = [("will_need", 32, 32), ("done_with", 32, 32), ("wont_need", 32, 32)]
    assert hints == [*of_x, ("will_need", 0, 96), ("done_with", 0, 96), ("wont_need", 0, 96)]
    source.close()


def test_many_threads_read_the_same_values(tmp_path):
    tensor = torch.rand(96, 64)
    source = PlacedSource(
        of_kind("safetensors", {"w": tensor}, tmp_path),
        {**{str(i): Place("w", i, 3) for i in range(3)}, "t": Place("w", transposed=True)},
    )

    def read(number: int) -> bool:
        key = "012t"[number % 4]
        out = torch.empty(source.info(key).shape)
        source.read_into(key, out)
        return out.equal(tensor.t() if key == "t" else tensor[int(key) * 32 :][:32])

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(read, range(80)))
    source.close()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place("w", 0, 3), "'w' is of shape 4x2x1: it can't hold 3 tensors"),
        (Place("w", transposed=True), "no matrix"),
        (Place("s", 0, 3), "'s' is of shape scalar: it can't"),
    ],
)
def test_a_tensor_that_cannot_hold_it_is_told(place, words):
    below = MemorySource({"w": torch.rand(4, 2, 1), "s": torch.tensor(1.0)})
    with pytest.raises(WeightsFileError, match=words):
        PlacedSource(below, {"x": place})
    assert not below.closed


def test_scalars_and_empty_tensors_pass_through(tmp_path):
    source = PlacedSource(
        of_kind("safetensors", {"s": torch.tensor(4.5), "e": torch.empty(0, 3)}, tmp_path),
        {"x": Place("s"), "y": Place("e", 2, 3), "z": Place("e", transposed=True)},
    )
    out = torch.empty(())
    source.read_into("x", out)
    assert out.item() == 4.5
    for key, shape in (("y", (0, 3)), ("z", (3, 0))):
        assert source.info(key).shape == shape
        source.read_into(key, torch.empty(shape))
    source.close()


@pytest.mark.parametrize("place", [Place("a", transposed=True), Place("a", part=1, parts=2)])
@pytest.mark.parametrize("kind", ["memory", "safetensors"])
def test_whatever_the_default_device_is_it_is_read_in_host_memory(tmp_path, kind, place):
    tensor = torch.arange(24.0).reshape(4, 6)
    source = PlacedSource(of_kind(kind, {"a": tensor}, tmp_path), {"x": place})
    out, held = torch.empty(source.info("x").shape), torch.empty(source.info("x").shape)
    with torch.device("meta"):
        source.read_into("x", out)
        source.hold("x").write_into(held)
    assert torch.equal(out, tensor.t() if place.transposed else tensor[2:])
    assert torch.equal(held, out)
    source.close()
