"""The same speeds under pytest-benchmark: pytest benchmarks/format"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.format.speed import Case, all_cases


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    with all_cases(tmp_path_factory.mktemp("speed")) as cases:
        yield cases


KINDS = [
    f"{kind}: {what}"
    for kind in ("lattice-heavy", "lattice-heavy d=10", "overlay-heavy")
    for what in (
        "plain numpy",
        "one thread",
        "two threads, one tensor",
        "two threads, two tensors",
        "inflated, one thread",
    )
]


@pytest.mark.parametrize("name", ["plain copy of the output", *KINDS, "encode losslessly, trained-like"])
def test_speed(benchmark: Any, timed: dict[str, Case], name: str) -> None:
    run, nbytes = timed[name]
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info["GB/s of float16"] = nbytes / benchmark.stats.stats.min / 1e9
    assert benchmark.stats.stats.min > 0


def test_the_baseline_is_right(tmp_path: Path) -> None:
    import numpy as np

    import lzr2
    from benchmarks.format import baseline, cases

    path = cases.write(tmp_path / "a.lzr2", 0.3, copies=1)
    with lzr2.open(path) as file:
        decoded = baseline.decode(memoryview(path.read_bytes()), file.record("t0"))
        assert np.array_equal(decoded.view(np.uint16), file.get_tensor("t0").view(np.uint16))
