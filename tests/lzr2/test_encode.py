"""Lossless means bit for bit; a target is kept; what lies on three levels costs nothing extra."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lzr2
from lzr2.encode import fit_tensor
from lzr2.errors import EncodeError
from lzr2.sample import Sample
from lzr2.target import Target

from .brute_force import from_mean_and_deviation, kinds, least_errors
from .reference import bits


def saved(tensor: np.ndarray, path: Path, **options: Any) -> tuple[np.ndarray, lzr2.RecordInfo]:
    lzr2.save_file({"t": tensor}, path / "t.lzr2", **options)
    with lzr2.open(path / "t.lzr2", sidecar=False) as file:
        return file.get_tensor("t"), file.record("t")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.03, shape).astype(np.float16)


def rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array.astype(np.float64)))))


@pytest.mark.parametrize(
    "shape", [(1,), (33,), (5, 7), (64, 48), (3, 4, 3, 3), (1, 1), (0, 4), (4, 0), (2, 70001), (1, 300_000), (8200, 9)]
)
def test_lossless_is_exact_for_every_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    tensor = normal(*shape)
    decoded, record = saved(tensor, tmp_path)
    assert decoded.shape == shape
    assert np.array_equal(bits(decoded), bits(tensor))
    assert record.overlay_count <= tensor.size


def test_lossless_keeps_every_float16_pattern(tmp_path: Path) -> None:
    every = np.arange(65_536, dtype=np.uint16).view(np.float16)
    for shape in ((65_536,), (256, 256), (2, 32_768)):
        decoded, _ = saved(every.reshape(shape), tmp_path)
        assert np.array_equal(bits(decoded).reshape(-1), bits(every)), shape


@settings(max_examples=60, deadline=None)
@given(
    patterns=hnp.arrays(np.uint16, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9)),
    d=st.none() | st.integers(1, 10),
    few=st.booleans(),
)
def test_lossless_property(
    patterns: np.ndarray, d: int | None, few: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensor = (patterns & np.uint16(0x8C01) if few else patterns).view(np.float16)
    decoded, record = saved(tensor, tmp_path_factory.mktemp("lossless"), d=d)
    assert np.array_equal(bits(decoded), bits(tensor))
    assert d is None or record.d == d


def test_float32_is_taken_as_float16(tmp_path: Path) -> None:
    tensor = np.array([[1e-9, 0.1, 70_000.0, -1e9, np.nan, 1 / 3]], np.float32)
    decoded, _ = saved(tensor, tmp_path)
    with np.errstate(over="ignore"):
        wanted = tensor.astype(np.float16)
    assert np.array_equal(bits(decoded), bits(wanted))


def test_a_tensor_that_is_not_contiguous(tmp_path: Path) -> None:
    tensor = normal(20, 30).T[::2]
    decoded, _ = saved(tensor, tmp_path)
    assert np.array_equal(bits(decoded), bits(tensor))


@pytest.mark.parametrize("kind", ["symmetric", "shifted", "two", "constant", "zeros", "minus zero"])
def test_rows_on_three_levels_need_no_overlay(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    digit = rng.integers(-1, 2, (200, 96)).astype(np.float32)
    offset = rng.normal(0, 0.4, (200, 1)).astype(np.float32)
    scale = rng.normal(0, 0.05, (200, 1)).astype(np.float32)
    tensor = {
        "symmetric": digit * scale,
        "shifted": (digit + offset) * scale,
        "two": np.where(digit > 0, offset, scale),
        "constant": offset + 0 * digit,
        "zeros": 0 * np.abs(digit),
        "minus zero": np.full_like(digit, -0.0),
    }[kind].astype(np.float16)
    tensor[tensor == 0] = np.float16(-0.0) if kind == "minus zero" else np.float16(0)
    decoded, record = saved(tensor, tmp_path)
    assert np.array_equal(bits(decoded), bits(tensor))
    assert record.overlay_count <= 0.001 * tensor.size


def test_trained_rows_with_outliers_need_only_those(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    tensor = (rng.integers(-1, 2, (64, 512)) * rng.normal(0, 0.05, (64, 1))).astype(np.float16)
    outliers = rng.random(tensor.shape) < 0.01
    tensor[outliers] = rng.normal(0, 1, int(outliers.sum()))
    decoded, record = saved(tensor, tmp_path)
    assert np.array_equal(bits(decoded), bits(tensor))
    assert record.overlay_count <= 1.2 * outliers.sum()


def test_the_overlay_holds_the_largest_errors(tmp_path: Path) -> None:
    tensor = normal(50, 400)
    decoded, record = saved(tensor, tmp_path, overlay_fraction=0.1)
    assert record.overlay_count == int(0.1 * tensor.size)
    error = np.abs(decoded.astype(np.float32) - tensor.astype(np.float32))
    assert (error == 0).sum() >= record.overlay_count
    bare, _ = saved(tensor, tmp_path, overlay_fraction=0.0)
    bare_error = np.abs(bare.astype(np.float32) - tensor.astype(np.float32))
    assert error.max() < 0.5 * bare_error.max()
    assert rms(error) < 0.8 * rms(bare_error)


def test_three_levels_leave_a_normal_row_near_the_known_optimum(tmp_path: Path) -> None:
    tensor = normal(50, 2000)
    decoded, record = saved(tensor, tmp_path, overlay_fraction=0.0)
    assert record.overlay_count == 0
    relative = rms(decoded.astype(np.float32) - tensor.astype(np.float32)) / rms(tensor)
    assert 0.42 < relative < 0.45  # Lloyd and Max: 0.4359 for three levels


def test_more_overlay_never_costs_accuracy(tmp_path: Path) -> None:
    tensor = normal(32, 500)
    errors = []
    for fraction in (0.0, 0.02, 0.1, 0.3, 0.7, 1.0):
        decoded, _ = saved(tensor, tmp_path, overlay_fraction=fraction)
        errors.append(rms(decoded.astype(np.float32) - tensor.astype(np.float32)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


@pytest.mark.parametrize("limit", [0.0, 0.001, 0.02])
def test_max_error_is_kept(limit: float, tmp_path: Path) -> None:
    tensor = normal(32, 500)
    decoded, record = saved(tensor, tmp_path, max_error=limit)
    assert np.abs(decoded.astype(np.float32) - tensor.astype(np.float32)).max() <= limit
    assert record.overlay_count < tensor.size


@pytest.mark.parametrize("nbytes", [6_000, 20_000, 100_000])
def test_size_is_kept_and_used(nbytes: int) -> None:
    tensor = normal(32, 500)
    fitted = fit_tensor(tensor, Target(nbytes=nbytes))
    assert fitted.nbytes == 12 + 4 * 32 * (fitted.d + 2) + len(fitted.stream) + 8 * fitted.overlay_count
    assert nbytes - 8 < fitted.nbytes <= nbytes


def test_small_entries_are_kept_where_they_can_be(tmp_path: Path) -> None:
    for options in ({}, {"overlay_fraction": 0.3}, {"max_error": 0.01}):
        _, record = saved(normal(10_240, 160), tmp_path, **options)
        assert record.entry_nbytes == 8, options
        assert record.d <= 6


def test_infinities_survive_or_it_fails(tmp_path: Path) -> None:
    tensor = normal(8, 100)
    tensor[3, 5], tensor[4, 6] = np.inf, np.nan
    decoded, _ = saved(tensor, tmp_path, overlay_fraction=0.01)
    assert np.isinf(decoded[3, 5])
    assert np.isnan(decoded[4, 6])
    with pytest.raises(EncodeError, match="no room for infinities"):
        saved(tensor, tmp_path, overlay_fraction=0.0)


@pytest.mark.parametrize(
    ("tensor", "options", "match"),
    [
        (np.zeros((2, 2), np.int32), {}, "tensor type"),
        (np.float16(1), {}, "tensor type"),
        (np.zeros((), np.float16), {}, "number of dimensions"),
        (np.zeros((1,) * 9, np.float16), {}, "number of dimensions"),
        (np.zeros((2, 2), np.float16), {"d": 0}, "block length"),
        (np.zeros((2, 2), np.float16), {"d": 11}, "block length"),
        (np.zeros((2, 2), np.float16), {"d": 2.5}, "block length"),
        (np.zeros((2, 2), np.float16), {"d": "8"}, "block length"),
        (np.zeros((2, 2), np.float16), {"overlay_fraction": 1.5}, "overlay_fraction"),
        (np.zeros((2, 2), np.float16), {"overlay_fraction": "much"}, "overlay_fraction"),
        (np.zeros((2, 2), np.float16), {"max_error": -1.0}, "max_error"),
        (np.zeros((2, 2), np.float16), {"max_error": float("nan")}, "max_error"),
        (np.zeros((2, 2), np.float16), {"nbytes": -1}, "nbytes"),
        (np.zeros((2, 2), np.float16), {"max_error": 1.0, "overlay_fraction": 0.5}, "several targets"),
    ],
)
def test_what_cannot_be_encoded(tensor: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(EncodeError, match=match):
        lzr2.encode(tensor, **options)


def test_an_encoded_tensor_can_be_written_as_it_is(tmp_path: Path) -> None:
    tensor = normal(40, 50)
    encoded = lzr2.encode(tensor)
    lzr2.write_records(tmp_path / "a.lzr2", [("t", encoded)])
    lzr2.save_file({"t": tensor}, tmp_path / "b.lzr2")
    assert (tmp_path / "a.lzr2").read_bytes() == (tmp_path / "b.lzr2").read_bytes()


def test_a_huge_constant_tensor_is_stored_so_that_readers_accept_it(tmp_path: Path) -> None:
    decoded, record = saved(np.zeros((1, 17_000_000), np.float16), tmp_path)
    assert not decoded.any()
    assert decoded.nbytes <= 32 * record.record_nbytes


def test_too_many_weights() -> None:
    with pytest.raises(EncodeError, match="too large"):
        lzr2.encode(np.broadcast_to(np.float16(0), (2**17, 2**17)))


def decoded(encoded: lzr2.EncodedTensor, path: Path) -> np.ndarray:
    lzr2.write_records(path, [("t", encoded)])
    with lzr2.open(path, sidecar=False) as file:
        return file.get_tensor("t")


KINDS = kinds(4, 96, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_is_about_as_good_as_all_tries(kind: str, tmp_path: Path) -> None:
    rows = KINDS[kind]
    best = least_errors(rows)
    finite = np.isfinite(rows)
    floor = 1e-7 * np.square(rows[finite].astype(np.float64)).sum()  # levels are rounded to float16
    for fraction in (0.0, 0.03, 0.1, 0.3):
        if np.isinf(best[int(fraction * rows.size)]):
            with pytest.raises(EncodeError, match="no room for infinities"):
                lzr2.encode(rows, overlay_fraction=fraction)
            continue
        encoded = lzr2.encode(rows, overlay_fraction=fraction)
        assert encoded.overlay_count <= fraction * rows.size
        error = decoded(encoded, tmp_path / "t.lzr2")[finite].astype(np.float64) - rows[finite]
        assert np.square(error).sum() <= 1.07 * best[encoded.overlay_count] + floor, fraction


def test_outliers_cost_the_other_weights_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(0, 1, (16, 1024))
    rows[np.arange(16), random.integers(0, 1024, 16)] = 100
    rows = rows.astype(np.float16)
    for fraction, most in ((0.01, 0.172), (0.1, 0.094)):
        error = decoded(lzr2.encode(rows, overlay_fraction=fraction), tmp_path / "t.lzr2").astype(np.float64) - rows
        assert np.square(error).mean() <= most


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5])
def test_on_normal_rows_it_is_no_worse_than_from_mean_and_deviation(fraction: float, tmp_path: Path) -> None:
    rows = normal(8, 2000)
    error = decoded(lzr2.encode(rows, overlay_fraction=fraction), tmp_path / "t.lzr2").astype(np.float64) - rows
    assert np.square(error).sum() <= 1.0005 * from_mean_and_deviation(rows, int(fraction * rows.size))


# Few different values, so that many errors are equal; and any at all.
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 100.0, 65504.0, 6e-8, 1e-3]) | st.floats(
    width=16, allow_nan=False
)
tensors = hnp.arrays(np.float16, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=12), elements=values)


@settings(max_examples=150, deadline=None)
@given(tensors, st.floats(0, 1))
def test_so_many_entries_exactly(tmp_path_factory: pytest.TempPathFactory, tensor: np.ndarray, fraction: float) -> None:
    count = int(fraction * tensor.size)
    if np.count_nonzero(~np.isfinite(tensor)) > count:
        with pytest.raises(EncodeError, match="no room for infinities"):
            lzr2.encode(tensor, overlay_fraction=fraction)
        return
    encoded = lzr2.encode(tensor, overlay_fraction=fraction)
    assert encoded.overlay_count <= count
    if encoded.overlay_count < count:
        assert np.array_equal(bits(decoded(encoded, tmp_path_factory.mktemp("x") / "t.lzr2")), bits(tensor))
    assert lzr2.encode(tensor, overlay_fraction=fraction).overlay_rows.tobytes() == encoded.overlay_rows.tobytes()


def test_of_equal_errors_the_first_are_taken(tmp_path: Path) -> None:
    tensor = np.tile(np.array([1, 2, 4, 8], np.float16), (50, 25))
    encoded = lzr2.encode(tensor, overlay_fraction=0.2)
    assert encoded.overlay_count == 1000
    exact = bits(decoded(encoded, tmp_path / "t.lzr2")) == bits(tensor)
    assert not exact.all()


@settings(max_examples=150, deadline=None)
@given(tensors, st.floats(0, 10) | st.sampled_from([1 / 3, 2**-24, 0.1, 1.0, 65504.0, 1e39]))
def test_an_error_is_never_larger_than_it_may_be(
    tmp_path_factory: pytest.TempPathFactory, tensor: np.ndarray, limit: float
) -> None:
    read = decoded(lzr2.encode(tensor, max_error=limit), tmp_path_factory.mktemp("x") / "t.lzr2")
    finite = np.isfinite(tensor)
    assert np.array_equal(bits(read)[~finite], bits(tensor)[~finite])
    assert (np.abs(read[finite].astype(np.float64) - tensor[finite].astype(np.float64)) <= limit).all()


@settings(max_examples=150, deadline=None)
@given(tensors, st.integers(0, 3000), st.none() | st.integers(1, 10))
def test_a_size_is_kept_or_the_least_is_named(tensor: np.ndarray, nbytes: int, d: int | None) -> None:
    try:
        fitted = fit_tensor(tensor, Target(nbytes=nbytes), d)
    except EncodeError as error:
        least = int(str(error.expected).split()[0])
        assert least > nbytes
        assert fit_tensor(tensor, Target(nbytes=least), d).nbytes <= least
        assert least <= fit_tensor(tensor, Target(), d).nbytes
        if np.isfinite(tensor).all():
            assert least <= fit_tensor(tensor, Target(overlay_fraction=0.0), d).nbytes
    else:
        assert fitted.nbytes <= nbytes
        assert d is None or fitted.d == d


@pytest.mark.parametrize("kind", ["normal", "ternary with outliers", "constant"])
def test_a_size_that_lossless_needs_is_lossless(kind: str) -> None:
    whole = fit_tensor(KINDS[kind], Target())
    fitted = fit_tensor(KINDS[kind], Target(nbytes=whole.nbytes))
    assert (fitted.nbytes, fitted.overlay_count) == (whole.nbytes, whole.overlay_count)
    assert fit_tensor(KINDS[kind], Target(nbytes=2 * whole.nbytes)).nbytes == whole.nbytes


def within(tensor: np.ndarray, nbytes: int) -> bool:
    """Whether the tensor can be had in so many bytes; fails if it takes more, or for another reason."""
    try:
        fitted = fit_tensor(tensor, Target(nbytes=nbytes))
    except EncodeError as error:
        if not re.search("found [0-9]+, expected [0-9]+ bytes or more", str(error)):
            raise
        return False
    if fitted.nbytes > nbytes:
        pytest.fail(f"{fitted.nbytes} bytes where {nbytes} are the limit")
    return True


@pytest.mark.parametrize("estimate", ["too good", "too bad"])
def test_a_limit_is_kept_however_wrong_a_samples_estimate_is(estimate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = 0 if estimate == "too good" else 1 << 40
    monkeypatch.setattr(Sample, "missed", lambda self: wrong)
    monkeypatch.setattr(Sample, "lossless_nbytes", lambda self, d: wrong)
    random = np.random.default_rng(3)
    for infinite in (0, 40):
        tensor = random.normal(0, 1, (8, 64)).astype(np.float16)
        tensor.reshape(-1)[random.permutation(512)[:infinite]] = np.inf
        whole = fit_tensor(tensor, Target()).nbytes
        for nbytes in range(whole // 8, whole + 9, 24):
            assert within(tensor, nbytes) or nbytes < whole
        for fraction in (0.1, 0.5, 0.99):
            assert fit_tensor(tensor, Target(overlay_fraction=fraction)).overlay_count <= int(fraction * 512)


@pytest.mark.parametrize("kind", ["normal", "ternary", "constant"])
@pytest.mark.parametrize("shape", [(2, 256), (40, 9)])
@pytest.mark.parametrize("estimate", [0, 1 << 40])
def test_a_size_just_below_lossless_is_kept_where_much_is_infinite(
    kind: str, shape: tuple[int, int], estimate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sample, "lossless_nbytes", lambda self, d: estimate)
    random = np.random.default_rng(3)
    weights = {
        "normal": random.normal(0, 1, shape),
        "ternary": random.choice([-1.0, 0.0, 1.0], shape) * random.uniform(0.5, 2, (shape[0], 1)),
        "constant": np.full(shape, 0.5),
    }[kind].astype(np.float16)
    weights.reshape(-1)[random.permutation(weights.size)[:200]] = np.inf
    whole = fit_tensor(weights, Target()).nbytes
    assert fit_tensor(weights, Target(nbytes=whole)).nbytes <= whole
    assert not within(weights, 9)
    for nbytes in range(whole - 40, whole):
        within(weights, nbytes)
