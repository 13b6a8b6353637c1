"""A source as a mapping of float16 arrays."""

from __future__ import annotations

import numpy as np
import pytest
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


def test_a_double_is_rounded_once():
    """Over float32, as torch goes, each but the last of these would come out as its neighbour."""
    doubles = np.array([1 + 2**-11 + 2**-40, 1 - 2**-12 - 2**-45, 65519.9999999999, 2**-25 + 2**-60, 3.0])
    arrays = SourceArrays(MemorySource({"a": torch.from_numpy(doubles)}))
    assert arrays["a"].view(np.uint16).tolist() == [15361, 15359, 31743, 1, 16896]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_type_gives_what_numpy_gives(dtype):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(4000, dtype=torch.float64, generator=random) * torch.logspace(-9, 6, 4000, dtype=torch.float64)
    stored = values.to(dtype)
    read = SourceArrays(MemorySource({"a": stored}))["a"]
    with np.errstate(over="ignore"):
        wanted = stored.to(torch.float64).numpy().astype(np.float16)
    assert np.isinf(wanted).any()
    assert np.array_equal(read.view(np.uint16), wanted.view(np.uint16))


def test_whatever_the_default_device_is_arrays_are_host_memory():
    with torch.device("meta"):
        assert SourceArrays(MemorySource({"a": torch.ones(2, device="cpu")}))["a"].tolist() == [1, 1]
