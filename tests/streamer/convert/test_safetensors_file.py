"""What is written is what the library reads; what fails leaves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import load_file

from streamer.convert.safetensors_file import write_safetensors

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
halves = hnp.arrays(np.uint16, shapes).map(lambda bits: bits.view(np.float16))


@given(st.dictionaries(st.text(max_size=20).filter(lambda key: key != "__metadata__"), halves, max_size=5))
def test_the_library_reads_what_was_written(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("x") / "w.safetensors"
    write_safetensors(path, {key: tensor.shape for key, tensor in tensors.items()}, tensors.items())
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert read[key].shape == tensor.shape
        assert np.array_equal(read[key].view(np.uint16), tensor.view(np.uint16))
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "pt"}


A, B = np.zeros((2, 3), np.float16), np.ones(2, np.float16)
ANNOUNCED = {"a": (2, 3), "b": (2,)}


@pytest.mark.parametrize(
    "tensors",
    [
        [("a", A)],
        [("b", B), ("a", A)],
        [("a", A), ("b", B), ("c", B)],
        [("a", A.T), ("b", B)],
        [("a", A.astype(np.float32)), ("b", B)],
    ],
)
def test_another_tensor_than_announced_is_an_error_and_leaves_the_old_file(tmp_path, tensors):
    path = tmp_path / "w.safetensors"
    path.write_text("old")
    with pytest.raises(ValueError, match="announced"):
        write_safetensors(path, ANNOUNCED, tensors)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("w.safetensors", "old")]


def test_the_reserved_key_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="reserved"):
        write_safetensors(tmp_path / "w", {"__metadata__": (2,)}, [("__metadata__", B)])
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_that_is_not_contiguous_is_written_in_its_own_order(tmp_path):
    tensor = np.arange(6, dtype=np.float16).reshape(3, 2).T
    write_safetensors(tmp_path / "w", {"a": (2, 3)}, [("a", tensor)])
    assert np.array_equal(load_file(tmp_path / "w")["a"], tensor)
