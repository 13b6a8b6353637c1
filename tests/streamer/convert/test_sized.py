"""A size is never exceeded, is used where it helps, and helps most where the errors are largest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2.errors import EncodeError
from streamer.convert.encode import encode
from tests.streamer.tower import MemorySource


def normal(*shape: int, deviation: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * deviation


def ternary(*shape: int) -> torch.Tensor:
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(1)).float() * 0.05


def error(path, tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    decoded = lzr2.load_file(path)
    return {key: np.abs(decoded[key].astype(np.float64) - t.half().double().numpy()) for key, t in tensors.items()}


@pytest.mark.parametrize("nbytes", [150_000, 400_000, 1_000_000])
def test_it_goes_where_the_errors_are(tmp_path, nbytes):
    tensors = {"ternary": ternary(256, 512), "normal": normal(256, 512)}
    encode(MemorySource(tensors), tmp_path / "w.lzr2", nbytes=nbytes, jobs=2)
    assert 0.98 * nbytes <= (tmp_path / "w.lzr2").stat().st_size <= nbytes
    with lzr2.open(tmp_path / "w.lzr2", sidecar=False) as file:
        assert file.record("ternary").overlay_count == 0
    left = error(tmp_path / "w.lzr2", tensors)
    assert not left["ternary"].any()
    # No other sharing gives the normal tensor more: alone, with all that the other leaves, it is no better.
    alone = {"normal": tensors["normal"]}
    with lzr2.open(tmp_path / "w.lzr2", sidecar=False) as file:
        record = file.record("ternary")
    encode(MemorySource(alone), tmp_path / "a.lzr2", nbytes=nbytes - record.record_nbytes)
    assert np.square(left["normal"]).sum() <= 1.01 * np.square(error(tmp_path / "a.lzr2", alone)["normal"]).sum()


def test_one_threshold_holds_for_all(tmp_path):
    tensors = {f"t{i}": normal(64, 600, deviation=0.2 * 2**i, seed=i) for i in range(4)}
    encode(MemorySource(tensors), tmp_path / "w.lzr2", nbytes=300_000)
    largest = [e.max() for e in error(tmp_path / "w.lzr2", tensors).values()]
    assert largest[3] == pytest.approx(largest[2], rel=0.01)  # those of the others are smaller anyway
    assert max(largest) == pytest.approx(largest[3], rel=0.01)
    with lzr2.open(tmp_path / "w.lzr2", sidecar=False) as file:
        counts = [file.record(key).overlay_count for key in tensors]
    assert counts == sorted(counts)
    assert counts[0] < 0.1 * counts[3]


def test_wide_entries_have_to_remove_more(tmp_path):
    tensors = {"narrow": normal(2, 60_000), "wide": normal(2, 70_000, seed=2)}
    encode(MemorySource(tensors), tmp_path / "w.lzr2", nbytes=200_000)
    assert 0.98 * 200_000 <= (tmp_path / "w.lzr2").stat().st_size <= 200_000
    largest = {key: e.max() for key, e in error(tmp_path / "w.lzr2", tensors).items()}
    assert largest["wide"] / largest["narrow"] == pytest.approx(1.5**0.5, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["normal", "ternary", "constant", "outliers", "row", "small", "empty"]),
            st.integers(1, 30),
            st.integers(1, 200),
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(0, 1.2),
)
def test_the_size_is_kept_and_used_or_the_least_is_named(tmp_path_factory, kinds, share):
    make = {
        "normal": lambda i, a, b: normal(a, b, seed=i),
        "ternary": lambda i, a, b: ternary(a, b),
        "constant": lambda i, a, b: torch.full((a, b), 0.7),
        "outliers": lambda i, a, b: normal(a, b, seed=i).index_fill(1, torch.tensor([0]), float("inf")),
        "row": lambda i, a, b: normal(a * b, seed=i),
        "small": lambda i, a, b: normal(a, b, deviation=1e-6, seed=i),
        "empty": lambda i, a, b: torch.empty(a, 0),
    }
    source = MemorySource({f"t{i}": make[kind](i, a, b) for i, (kind, a, b) in enumerate(kinds)})
    path = tmp_path_factory.mktemp("x") / "w.lzr2"
    encode(source, path)
    lossless = path.stat().st_size
    path.unlink()
    nbytes = int(share * lossless)
    try:
        encode(source, path, nbytes=nbytes)
    except EncodeError as error:
        what, least = error.what, int(str(error.expected).split()[0])
    else:
        what, least = "", 0
    if what:
        assert "too small for the lattices alone" in what
        assert list(path.parent.iterdir()) == []
        assert nbytes < least <= lossless
        encode(source, path, nbytes=least)
        assert path.stat().st_size <= least
        return
    size = path.stat().st_size
    assert size <= nbytes
    decoded = lzr2.load_file(path)
    exact = all(np.array_equal(decoded[key], t.half().numpy(), equal_nan=True) for key, t in source.tensors.items())
    assert exact or nbytes - size < 0.02 * nbytes or nbytes - size < 12
    if nbytes >= lossless:
        assert exact
        assert size == lossless


def test_lossless_where_it_fits_and_not_a_byte_before(tmp_path):
    tensors = {"a": normal(600, 700), "b": ternary(64, 300)}
    encode(MemorySource(tensors), tmp_path / "lossless.lzr2")
    size = (tmp_path / "lossless.lzr2").stat().st_size
    encode(MemorySource(tensors), tmp_path / "w.lzr2", nbytes=size)
    assert (tmp_path / "w.lzr2").read_bytes() == (tmp_path / "lossless.lzr2").read_bytes()
    encode(MemorySource(tensors), tmp_path / "w.lzr2", nbytes=size - 1)
    assert 0.98 * size < (tmp_path / "w.lzr2").stat().st_size < size


@pytest.mark.parametrize("at", [3, 9, 15])
def test_a_fault_in_any_pass_leaves_nothing(tmp_path, at):
    class Failing(MemorySource):
        def read_into(self, key, out):
            if len(self.reads) >= at:
                raise OSError(5, "the disk went away")
            super().read_into(key, out)

    source = Failing({f"t{i}": normal(20, 50, seed=i) for i in range(6)})
    with pytest.raises(OSError, match="went away"):
        encode(source, tmp_path / "w.lzr2", nbytes=20_000, jobs=2)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_nothing(tmp_path):
    def interrupt(nbytes: int) -> None:
        if nbytes == 1000:  # a part of the second pass
            raise KeyboardInterrupt

    source = MemorySource({f"t{i}": normal(20, 50, seed=i) for i in range(6)})
    with pytest.raises(KeyboardInterrupt):
        encode(source, tmp_path / "w.lzr2", nbytes=20_000, jobs=2, on_bytes=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path):
    source = MemorySource({f"t{i}": normal(20, 50, seed=i) for i in range(3)})

    def change(nbytes: int) -> None:
        if len(source.reads) >= 6:
            source.tensors["t2"] = torch.zeros(20, 50)

    with pytest.raises(EncodeError, match="'t2': the tensor changed"):
        encode(source, tmp_path / "w.lzr2", nbytes=10_000, on_bytes=change)
    assert list(tmp_path.iterdir()) == []
