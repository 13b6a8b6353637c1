"""A step of a small SDXL: pytest benchmarks/runtime/test_step.py. Results are first compared, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.runtime.small_unet import SmallUnet


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallUnet:
    return SmallUnet(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("how", ["resident", "all resident", "lzr2", "safetensors"])
def test_a_step(benchmark: Any, small: SmallUnet, how: str) -> None:
    with small.streamed("lzr2" if how == "resident" else how) as (streamed, resident, arguments), torch.no_grad():
        expected = resident(**arguments).sample
        assert bool(expected.isfinite().all())
        assert 0.01 < float(expected.std()) < 100
        for _ in range(2):
            assert torch.equal(streamed(**arguments).sample, expected)
        unet = resident if how == "resident" else streamed
        benchmark.pedantic(lambda: unet(**arguments), rounds=5, warmup_rounds=1)
