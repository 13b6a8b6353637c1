"""A size is kept, used, and spent where it removes most error, over all tensors of a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import block_length, deflate
from lzr2.allot import Measured, _shared, allot, fit_measured, fixed_nbytes, least_nbytes, measure
from lzr2.block_length import D_CHOICES
from lzr2.errors import EncodeError


def measured(errors: list[float], entry_nbytes: int = 8, lattice_nbytes: int = 100) -> Measured:
    """A tensor with such errors, each in the middle of its bin."""
    bits = np.array(errors, np.float32).view(np.uint32) >> 16
    bins, counts = np.unique(bits, return_counts=True)
    none = np.zeros(0, np.float32)
    return Measured((1, len(errors)), 8, none, none, lattice_nbytes, entry_nbytes, bins.astype(np.uint16), counts)


def plainly(tensors: dict[str, tuple[list[float], int]], room: int) -> float:
    """The most squared error that so many bytes can remove: by trying every number of 8 byte entries, largest first."""
    narrow, wide = (
        sorted((e * e for errors, size in tensors.values() if size == n for e in errors), reverse=True) for n in (8, 12)
    )
    best = 0.0
    for n in range(min(len(narrow), room // 8) + 1):
        best = max(best, sum(narrow[:n]) + sum(wide[: (room - 8 * n) // 12]))
    return best


BIN_MIDDLES = [float(np.array([(0x3F00 + i) << 16 | 0x8000], np.uint32).view(np.float32)[0]) for i in range(0, 300, 7)]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.tuples(st.lists(st.sampled_from(BIN_MIDDLES), max_size=20), st.sampled_from([8, 12])),
        max_size=4,
    ),
    st.integers(0, 600),
)
def test_no_other_sharing_removes_more(tensors: dict[str, tuple[list[float], int]], room: int) -> None:
    all_measured = {key: measured(errors, size) for key, (errors, size) in tensors.items()}
    nbytes = least_nbytes(all_measured) + room
    entries = allot(all_measured, nbytes)
    spent = sum(n * tensors[key][1] for key, n in entries.items())
    assert spent <= room
    wanted = sum(len(errors) * size for errors, size in tensors.values())
    assert spent > room - 20 or spent == wanted
    removed = sum(sum(sorted((e * e for e in tensors[key][0]), reverse=True)[:n]) for key, n in entries.items())
    slack = 12 / 8 * max([0.0, *(e * e for errors, _ in tensors.values() for e in errors)])
    assert removed >= plainly(tensors, room) - slack
    assert all(n <= len(tensors[key][0]) for key, n in entries.items())


def test_equal_errors_are_shared_equally() -> None:
    entries = allot(
        {"a": measured([1.0] * 300), "b": measured([1.0] * 100), "c": measured([0.1] * 9)}, 204 + 3 * 30 + 1700
    )
    assert entries["a"] == pytest.approx(3 * entries["b"], abs=3)
    assert entries["c"] == 0


@pytest.mark.parametrize("fits", [True, False])
def test_the_least_is_named_and_is_enough(fits: bool) -> None:
    tensors = {"a": measured([1.0, np.inf]), "b": measured([0.5, np.nan], 12)}
    least = least_nbytes(tensors)
    assert least == fixed_nbytes({"a": ((1, 2), 108), "b": ((1, 2), 112)}) == 4 + 2 * (4 + 1 + 4 + 8 + 1) + 220
    if fits:
        assert allot(tensors, least) == {"a": 1, "b": 1}
    else:
        with pytest.raises(EncodeError, match=f"expected {least} bytes or more"):
            allot(tensors, least - 1)


def test_no_tensors() -> None:
    assert allot({}, 4) == {}
    with pytest.raises(EncodeError):
        allot({}, 3)


@pytest.mark.parametrize("limit", [0.3, math.inf])
def test_a_measured_tensor_is_written_as_large_as_was_said(limit: float, tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).normal(0, 1, (20, 300)).astype(np.float16)
    tensor[3, 4], tensor[5, 6] = np.inf, np.nan
    one = measure(tensor, limit)
    assert one.needed == 2
    fitted = fit_measured(tensor, one, 700)
    with lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("key", fitted)
    size = (tmp_path / "a.lzr2").stat().st_size
    assert size == fixed_nbytes({"key": ((20, 300), one.lattice_nbytes + 700 * one.entry_nbytes)})
    decoded = lzr2.load_file(tmp_path / "a.lzr2")["key"]
    assert np.isinf(decoded[3, 4])
    assert np.isnan(decoded[5, 6])
    assert np.count_nonzero(decoded != tensor) <= one.counts.sum() - 700 + 1


def test_without_a_limit_the_block_length_is_the_smallest() -> None:
    tensor = np.random.default_rng(0).normal(0, 1, (200, 30)).astype(np.float16)
    least = measure(tensor, math.inf)
    every = [lzr2.encode(tensor, overlay_fraction=0.0, d=d) for d in range(1, 11)]
    sizes = [12 + 4 * 200 * (one.d + 2) + len(deflate.compress(block_length.raw(one.indices))) for one in every]
    assert least.lattice_nbytes <= min(size for size, one in zip(sizes, every, strict=True) if one.d in D_CHOICES)


@pytest.mark.parametrize("change", ["shape", "values", "less"])
def test_a_tensor_that_changed_since_is_told(change: str) -> None:
    tensor = np.random.default_rng(0).normal(0, 1, (20, 300)).astype(np.float16)
    one = measure(tensor, 0.3)
    other = {"shape": tensor.reshape(40, 150), "values": np.zeros_like(tensor), "less": tensor}[change]
    with pytest.raises(EncodeError, match="changed while"):
        fit_measured(other, one, 6001 if change == "less" else 100)


def test_it_is_about_tensors_that_can_be_encoded() -> None:
    with pytest.raises(EncodeError, match="tensor type"):
        measure(np.zeros((2, 2), np.int8), 1.0)
    assert measure(np.zeros((0, 3), np.float16), 1.0).counts.size == 0


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([8, 12])), min_size=1, max_size=6), st.integers(0, 400))
@example([(1, 8), (1, 8), (1, 12)], 17)
def test_what_is_shared_fits_and_no_more_of_anything_does(parts: list[tuple[int, int]], room: int) -> None:
    counts, sizes = (list(each) for each in zip(*parts, strict=True))
    room = min(room, sum(count * size for count, size in parts))
    taken = _shared(counts, sizes, room)
    left = room - sum(n * size for n, size in zip(taken, sizes, strict=True))
    assert left >= 0
    assert all(0 <= n <= count for n, count in zip(taken, counts, strict=True))
    assert all(n == count or size > left for n, (count, size) in zip(taken, parts, strict=True))


def test_what_is_left_goes_to_the_first() -> None:
    assert _shared([1, 1, 1], [8, 8, 8], 17) == [1, 1, 0]
