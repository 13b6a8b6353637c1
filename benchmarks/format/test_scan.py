"""Finding the records of a file: pytest benchmarks/format/test_scan.py. The index is first compared with what was
written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2

RECORDS, SHAPE = 1680, (64, 640)  # as many as SDXL's U-Net has


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    tensor = lzr2.EncodedTensor(
        shape=SHAPE,
        d=8,
        offset=random.normal(0, 0.1, SHAPE[0]).astype(np.float32),
        scale=random.normal(0, 0.03, SHAPE[0]).astype(np.float32),
        indices=random.integers(0, 3**8, (SHAPE[0], SHAPE[1] // 8)).astype(np.uint16),
        overlay_rows=np.zeros(0, np.uint16),
        overlay_columns=np.zeros(0, np.uint16),
        overlay_values=np.zeros(0, np.float32),
    )
    path = tmp_path_factory.mktemp("scan") / "many.lzr2"
    lzr2.write_records(path, ((f"block.{n}.weight", tensor) for n in range(RECORDS)))
    return path


def require_all(index: lzr2.Index, path: Path) -> None:
    assert list(index.by_key) == [f"block.{n}.weight" for n in range(RECORDS)]
    assert {record.shape for record in index.records} == {SHAPE}
    assert index.records[-1].end == path.stat().st_size


def test_from_the_file(benchmark: Any, written: Path) -> None:
    index = lzr2.Index.build(written)
    require_all(index, written)
    assert index.bytes_read < 0.2 * written.stat().st_size
    benchmark(lambda: lzr2.Index.build(written))
    benchmark.extra_info["share of the file read"] = index.bytes_read / index.file_nbytes


def test_from_the_sidecar(benchmark: Any, written: Path) -> None:
    lzr2.Index.open(written)
    index = lzr2.Index.open(written)
    assert index.from_sidecar
    require_all(index, written)
    benchmark(lambda: lzr2.Index.open(written))
