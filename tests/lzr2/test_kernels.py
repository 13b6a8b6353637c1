"""Compiled loops equal the plain arithmetic, pattern for pattern."""

from __future__ import annotations

import numpy as np
import pytest

from lzr2 import kernels, lattice

TABLE = lattice.widening_table().view(np.uint32)


def interesting_patterns() -> np.ndarray:
    """Every float16 value and every midpoint between two, each with its neighbours; and random patterns."""
    half = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        middles = ((half[1:].astype(np.float64) + half[:-1]) / 2).astype(np.float32)
    exact = np.concatenate([half, middles, np.float32([65520, 2**-25, 2**-24])]).view(np.uint32)
    around = np.concatenate([exact, exact + 1, exact - 1])
    noise = np.random.default_rng(0).integers(0, 2**32, 400_000, dtype=np.uint64).astype(np.uint32)
    values = np.concatenate([around, noise])
    return np.concatenate([values, values ^ np.uint32(0x80000000)])


def rounded(patterns: np.ndarray) -> np.ndarray:
    """numpy's rounding; for NaN what SPEC.md says, as processors differ."""
    with np.errstate(all="ignore"):
        half = patterns.view(np.float32).astype(np.float16).view(np.uint16)
    nan = (patterns & 0x7FFFFFFF) > 0x7F800000
    payload = (patterns >> 13 & 0x3FF).astype(np.uint16)
    wanted = (patterns >> 16 & 0x8000).astype(np.uint16) | 0x7C00 | np.where(payload == 0, 1, payload)
    return np.where(nan, wanted, half).astype(np.uint16)


def test_rounding() -> None:
    patterns = interesting_patterns()
    out = np.empty(patterns.size, np.uint16)
    kernels.round_to_half(patterns, out)
    assert np.array_equal(out, rounded(patterns))


@pytest.mark.parametrize("wide", [False, True])
def test_rounding_in_batches(wide: bool) -> None:
    patterns = interesting_patterns()
    n = patterns.size
    words = np.zeros((n, 3 if wide else 2), np.uint32)
    words[:, -1] = patterns
    rows, columns = np.divmod(np.arange(n), 60_000)
    if wide:
        words[:, 0], words[:, 1] = rows, columns
    else:
        words[:, 0] = rows | columns << 16
    n_rows = int(rows.max()) + 1
    for kind in (np.uint16, np.uint32):
        out = np.zeros((rows.max() + 1) * 60_000, kind)
        assert kernels.apply_overlay(words.reshape(-1), wide, out, TABLE, 60_000, n_rows, 0, n_rows) == 0
        assert np.array_equal(out[:n], rounded(patterns) if kind == np.uint16 else TABLE[rounded(patterns)])


@pytest.mark.slow
def test_rounding_of_every_pattern() -> None:
    out = np.empty(1 << 24, np.uint16)
    for high in range(256):
        patterns = np.arange(1 << 24, dtype=np.uint32) + np.uint32(high << 24)
        kernels.round_to_half(patterns, out)
        assert np.array_equal(out, rounded(patterns)), high


def test_processors_without_the_instruction_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(kernels.llvmlite.binding, "get_host_cpu_features", dict)
    assert not kernels._converts_in_hardware()

    def unknown() -> dict[str, bool]:
        raise RuntimeError

    monkeypatch.setattr(kernels.llvmlite.binding, "get_host_cpu_features", unknown)
    assert not kernels._converts_in_hardware()
    monkeypatch.setattr(kernels.platform, "machine", lambda: "arm64")
    assert kernels._converts_in_hardware()


def test_widening() -> None:
    every = np.arange(65_536, dtype=np.uint16)
    table = lattice.widening_table().view(np.uint32)
    out = np.empty(65_536, np.uint32)
    kernels.widen(every, out, table)
    with np.errstate(all="ignore"):
        wanted = every.view(np.float16).astype(np.float32)
    finite = np.isfinite(wanted)
    assert np.array_equal(out[finite], wanted[finite].view(np.uint32))
    assert np.array_equal(out, table)


@pytest.mark.parametrize("d", [*range(1, 14), 16, 17, 32])
@pytest.mark.parametrize("n_columns", [1, 3, 8, 100, 401])
def test_expand(d: int, n_columns: int) -> None:
    rng = np.random.default_rng(d)
    limit = min(3**d, 65_536)
    for n_blocks in {0, 1, n_columns // d, -(-n_columns // d), n_columns // d + 7}:
        indices = rng.integers(0, limit, (4, n_blocks)).astype(np.uint16)
        levels = rng.integers(0, 65_536, (4, 3)).astype(np.uint16)
        out = np.full((6, n_columns), 7, np.uint16)
        assert kernels.expand(indices, levels, out[1:5], d, limit) == -1
        digits = np.ones((4, n_columns), int)
        for row in range(4):
            reached = [digit + 1 for i in indices[row] for digit in lattice.digits(int(i), d)][:n_columns]
            digits[row, : len(reached)] = reached
        assert np.array_equal(out[1:5], np.take_along_axis(levels, digits, 1))
        assert (out[[0, 5]] == 7).all()


@pytest.mark.parametrize("d", range(1, 11))
def test_expand_finds_the_row_of_a_bad_index(d: int) -> None:
    indices = np.zeros((5, 40), np.uint16)
    indices[3, 39] = 3**d if d < 11 else 0
    out = np.zeros((5, 40 * d), np.uint16)
    assert kernels.expand(indices, np.zeros((5, 3), np.uint16), out, d, min(3**d, 65_536)) == 3


def test_put_ignores_what_is_outside_and_widens_where_it_has_to() -> None:
    positions = np.array([4, 5, 14, 15, 2**32 - 1], np.uint32)
    for kind in (np.uint16, np.uint32):
        out = np.zeros(10, kind)
        kernels.put(positions, np.arange(1, 6, dtype=np.uint16), out, TABLE, 5)
        two, three = (2, 3) if kind == np.uint16 else TABLE[[2, 3]].tolist()
        assert out.tolist() == [two, 0, 0, 0, 0, 0, 0, 0, 0, three]


def test_digits() -> None:
    assert lattice.digits(0, 3) == (-1, -1, -1)
    assert lattice.digits(5, 2) == (0, 1)
    assert lattice.digits(3**8 - 1, 8) == (1,) * 8
    assert lattice.digits(65_535, 12)[0] == -1


def test_row_levels_round_each_operation() -> None:
    offset, scale = np.float32([1e8, 0.1, np.inf]), np.float32([3, 0.3, 0])
    levels = lattice.row_levels(offset, scale)
    assert levels.dtype == np.float32
    assert levels[0].tolist() == [3e8, 3e8, 3e8]  # 1e8 + 1 rounds to 1e8
    assert levels[1, 2] == np.float32(np.float32(1.1) * np.float32(0.3))
    assert np.isnan(levels[2]).all()
