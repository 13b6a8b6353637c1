"""A source as a mapping of float16 arrays."""

from __future__ import annotations

import numpy as np
import torch

from streamer.convert.arrays import SourceArrays
from tests.streamer.tower import MemorySource


def test_each_tensor_is_read_when_it_is_asked_for_and_rounded_to_float16():
    exact = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    source = MemorySource({"a": exact, "b": torch.ones(2)})
    arrays = SourceArrays(source)
    assert list(arrays) == ["a", "b"]
    assert len(arrays) == 2
    assert "a" in arrays
    assert "c" not in arrays
    assert arrays.sizes() == {"a": 30, "b": 4}
    assert source.reads == []
    assert np.array_equal(arrays["a"], exact.to(torch.float16).numpy())
    assert source.reads == ["a"]
