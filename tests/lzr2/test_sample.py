"""A sample tells about what the whole tensor would; a limit is found for every size."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lzr2.encode import fit_tensor
from lzr2.fitted import nearest_lattice
from lzr2.sample import Sample, best_limit, limit_for, limit_of
from lzr2.target import Target


def normal(*shape: int, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, deviation, shape).astype(np.float16).view(np.uint16)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (40, 100), (3, 9000), (5000, 1), (1200, 900)])
def test_it_is_small_and_of_the_tensor(shape: tuple[int, int]) -> None:
    patterns = normal(*shape)
    sample = Sample.of(patterns)
    assert sample.patterns.size <= 8192
    assert np.isin(sample.patterns, patterns).all()
    assert sample.share * sample.patterns.size == patterns.size
    if patterns.size <= 4096 and shape[0] <= 64:
        assert np.array_equal(sample.patterns, patterns)


def test_columns_are_from_everywhere_and_at_no_regular_distance() -> None:
    columns = np.broadcast_to(np.arange(5000, dtype=np.uint16), (20, 5000))
    taken = Sample.of(np.ascontiguousarray(columns)).patterns.astype(int)
    assert (np.diff(taken, axis=1) > 0).all()
    assert taken.min() < 10 < 4990 < taken.max()
    assert len(np.unique(taken % 9)) == 9
    assert len(np.unique(np.diff(taken, axis=1))) > 10


def test_what_it_foretells() -> None:
    patterns = normal(400, 700)
    sample, tensor = Sample.of(patterns), patterns.view(np.float16)
    lossless = fit_tensor(tensor, Target())
    assert abs(sample.lossless_nbytes() / lossless.nbytes - 1) < 0.03
    assert abs(sample.missed() / lossless.overlay_count - 1) < 0.03
    bare = fit_tensor(tensor, Target(overlay_fraction=0.0))
    assert abs(sample.lattice_nbytes() / bare.nbytes - 1) < 0.05
    assert sample.lattice_nbytes(2) > 1.1 * sample.lattice_nbytes()


@pytest.mark.parametrize("count", [5, 100, 3000, 15_000])
def test_a_limit_leaves_about_so_many_beyond(count: int) -> None:
    sample = Sample.of(normal(40, 400))
    limit = limit_for([sample], 8 * count)
    assert abs(sample.beyond(limit) - count) <= 0.1 * count + 2
    assert abs(sample.beyond(best_limit(sample, count)) - count) <= 0.3 * count + 5


def test_no_room_and_no_weights() -> None:
    assert limit_for([Sample.of(normal(4, 40))], 0) == math.inf
    assert limit_for([], 0) == math.inf
    for shape in ((0, 3), (3, 0)):
        sample = Sample.of(np.empty(shape, np.uint16))
        assert best_limit(sample, 0) == math.inf
        assert sample.lossless_nbytes() == sample.lattice_nbytes() > 0


def test_one_limit_holds_for_all_and_threads_change_nothing() -> None:
    samples = [Sample.of(normal(20, 400, deviation=deviation)) for deviation in (0.1, 1.0)]
    limit = limit_for(samples, 8 * 2000)
    small, large = (sample.beyond(limit) for sample in samples)
    assert abs(small + large - 2000) < 200
    assert small < 0.05 * large
    with ThreadPoolExecutor(2) as pool:
        assert limit_for(samples, 8 * 2000, pool.map) == limit


def test_what_is_left_is_what_the_fit_leaves() -> None:
    patterns = normal(6, 80)
    patterns[2, 3] = 0x7E00
    error, largest = Sample.of(patterns).left(0.5, 40)
    found = nearest_lattice(patterns, 0.5)
    levels = np.take_along_axis(found.levels, found.digits.astype(int), axis=1).view(np.float16).astype(np.float64)
    errors = np.abs(patterns.view(np.float16).astype(np.float64) - levels)
    errors[2, 3] = np.inf
    kept = np.sort(errors, axis=None)[:-40]
    assert math.isclose(error, np.square(kept).sum())
    assert largest == kept[-1]


def test_wider_entries_have_to_remove_more() -> None:
    assert limit_of(2.0, 8) == 2.0
    assert math.isclose(limit_of(2.0, 12) ** 2 / 12, 2.0**2 / 8)
    assert Sample.of(normal(2, 70_000)).entry_nbytes == 12
