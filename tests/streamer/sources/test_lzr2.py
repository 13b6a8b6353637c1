"""The LZR2 source against the reader of the format's own package."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import lzr2
from streamer.errors import WeightsFileError
from streamer.sources.lzr2 import InflatedHeld, Lzr2Source
from tests.streamer.sources.bits import raw

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(params=sorted(path.name for path in GOLDEN.glob("*.lzr2")))
def golden(request, tmp_path):
    # A copy: the index is kept beside the file.
    return Path(shutil.copy(GOLDEN / request.param, tmp_path))


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.lzr2"
    random = np.random.default_rng(5)
    shapes = {"conv": (40, 8, 3, 3), "linear": (300, 200), "bias": (300,)}
    lzr2.save_file({key: random.normal(size=shape).astype(np.float16) for key, shape in shapes.items()}, path)
    return path


def read(source: Lzr2Source, key: str, dtype: torch.dtype) -> torch.Tensor:
    out = torch.full(source.info(key).shape, 77, dtype=dtype)
    source.read_into(key, out)
    return out


def assert_same_bits(path: Path, wanted: torch.dtype, io: str = "auto") -> None:
    expected = lzr2.load_file(path)
    source = Lzr2Source(path, io)  # type: ignore[arg-type]
    assert list(source.keys()) == list(expected)
    for key, array in expected.items():
        tensor = torch.from_numpy(array)
        held = torch.full(tensor.shape, 77, dtype=wanted)
        source.hold(key).write_into(held)
        assert raw(read(source, key, wanted)) == raw(held) == raw(tensor.to(wanted)), key
        assert source.info(key).shape == array.shape
    source.close()


@pytest.mark.parametrize("wanted", TYPES)
def test_golden_files_have_the_same_bits_cast_as_torch_casts(golden, wanted):
    assert_same_bits(golden, wanted)


@pytest.mark.parametrize("io", ["pread", "mmap"])
@pytest.mark.parametrize("wanted", TYPES)
def test_a_new_file_has_the_same_bits_cast_as_torch_casts(made, wanted, io):
    assert_same_bits(made, wanted, io)


@pytest.fixture
def lattice_heavy(tmp_path):
    """Rows on three values, one weight in fifty anywhere."""
    path = tmp_path / "lattice.lzr2"
    random = np.random.default_rng(6)
    tensors = {}
    for i, d in enumerate((3, 8, 10)):
        values = (random.integers(-1, 2, (64, 400)) * random.uniform(0.01, 0.1, (64, 1))).astype(np.float16)
        elsewhere = random.random(values.shape) < 0.02
        values[elsewhere] = random.normal(size=int(elsewhere.sum()))
        tensors[f"t{i}"] = (values.reshape(64, 4, 10, 10), d)
    with lzr2.Writer(path) as writer:
        for key, (values, d) in tensors.items():
            writer.add(key, values, d=d)
    return path


@pytest.mark.parametrize("wanted", TYPES)
def test_a_lattice_heavy_file_has_the_same_bits_cast_as_torch_casts(lattice_heavy, wanted):
    assert_same_bits(lattice_heavy, wanted)


def test_what_is_held_is_in_its_smaller_form_and_of_the_size_that_was_announced(lattice_heavy, made):
    source = Lzr2Source(lattice_heavy)
    for key in source.keys():
        held, info = source.hold(key), source.info(key)
        assert isinstance(held, InflatedHeld)
        assert held.nbytes == info.held_nbytes < 2 * info.weights / 2
    dense = Lzr2Source(made)
    assert all(not isinstance(dense.hold(key), InflatedHeld) for key in dense.keys())


def test_what_can_be_inflated_says_how_large_it_is_and_is_held_so(lattice_heavy, made, golden):
    for path in (lattice_heavy, made, golden):
        source = Lzr2Source(path)
        for key in source.keys():
            held, sizes = source.hold(key), source.info(key).inflated
            assert (sizes is not None) == isinstance(held, InflatedHeld), key
            if sizes is None:
                with pytest.raises(ValueError, match="dense"):
                    held.write_inflated_into(torch.empty(1 << 20, dtype=torch.uint8))
                continue
            memory = torch.full((sizes.nbytes + 64,), 0xEE, dtype=torch.uint8)
            found = held.write_inflated_into(memory[: sizes.nbytes])
            assert found.nbytes <= sizes.nbytes
            assert (found.rows, found.columns, found.d) == (sizes.rows, sizes.columns, sizes.d)
            assert memory[sizes.nbytes :].tolist() == [0xEE] * 64


def test_sizes_are_known_before_anything_is_read(made):
    source = Lzr2Source(made)
    assert source.name == str(made)
    infos = [source.info(key) for key in source.keys()]
    assert sum(info.stored_nbytes for info in infos) + 4 == made.stat().st_size  # four bytes of signature
    for key, info in zip(source.keys(), infos, strict=True):
        assert info.held_nbytes == source.hold(key).nbytes


def test_a_held_tensor_does_not_need_the_file(made):
    source = Lzr2Source(made)
    expected = raw(read(source, "bias", torch.float32))
    held = source.hold("bias")
    source.close()
    out = torch.empty(300)
    held.write_into(out)
    assert raw(out) == expected


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_four_threads_read_the_same(made, io):
    source = Lzr2Source(made, io)
    expected = {key: raw(torch.from_numpy(array).float()) for key, array in lzr2.load_file(made).items()}
    results: list[dict[str, bytes]] = []

    def work() -> None:
        results.append({key: raw(read(source, key, torch.float32)) for _ in range(3) for key in source.keys()})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_an_unknown_key_is_a_key_error(made):
    source = Lzr2Source(made)
    for call in (source.info, source.hold, source.will_need, lambda key: source.read_into(key, torch.empty(3))):
        with pytest.raises(KeyError, match="nothing"):
            call("nothing")


def test_a_file_rewritten_while_open_is_an_error_not_other_weights(made):
    source = Lzr2Source(made)
    made.write_bytes(made.read_bytes())
    for call in (source.hold, lambda key: source.read_into(key, torch.empty(300))):
        with pytest.raises(WeightsFileError, match="while in use") as caught:
            call("bias")
        assert caught.value.path == str(made)
        assert isinstance(caught.value.__cause__, lzr2.Lzr2Error)


@pytest.mark.parametrize("kept", [0, 3, 4, 10, 500, -1])
def test_a_file_cut_short_is_an_error_that_names_it(made, kept):
    whole = made.read_bytes()
    made.write_bytes(whole[:kept])
    if kept == 4:  # the signature alone is a file without records
        assert list(Lzr2Source(made).keys()) == []
        return
    with pytest.raises(WeightsFileError, match=r"made\.lzr2"):
        Lzr2Source(made)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"<!DOCTYPE html><html>", "HTML"), (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer")],
)
def test_another_kind_of_file_is_named(tmp_path, content, what):
    path = tmp_path / "weights.lzr2"
    path.write_bytes(content)
    with pytest.raises(WeightsFileError, match=what):
        Lzr2Source(path)


def test_a_closed_source_says_so_and_a_hint_to_it_does_nothing(made):
    source = Lzr2Source(made)
    source.close()
    source.will_need("bias")
    with pytest.raises(WeightsFileError, match="closed"):
        source.hold("bias")


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsFileError, match="there is no such file"):
        Lzr2Source(tmp_path / "gone.lzr2")
