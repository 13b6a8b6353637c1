"""A size shared out is kept, and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2.allot import allot
from lzr2.errors import EncodeError

shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 300)), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0, 1), st.sampled_from(["normal", "ternary", "constant"]))
def test_the_file_is_never_larger(
    tmp_path_factory: pytest.TempPathFactory, sizes: list, spare: float, kind: str
) -> None:
    random = np.random.default_rng(0)
    make = {
        "normal": lambda shape: random.standard_normal(shape),
        "ternary": lambda shape: random.integers(-1, 2, shape),
        "constant": lambda shape: np.ones(shape),
    }[kind]
    tensors = {f"t{i}": make(shape).astype(np.float16) for i, shape in enumerate(sizes)}
    named = {key: tensor.shape for key, tensor in tensors.items()}
    with pytest.raises(EncodeError) as caught:
        allot(named, 0)
    least = int(str(caught.value.expected).split()[0])
    nbytes = least + int(spare * 9 * sum(tensor.size for tensor in tensors.values()))
    limits = allot(named, nbytes)
    path = tmp_path_factory.mktemp("x") / "a.lzr2"
    with lzr2.Writer(path) as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor, nbytes=limits[key])
    assert path.stat().st_size <= nbytes


def test_what_there_is_is_used(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).standard_normal((64, 4096)).astype(np.float16)
    limits = allot({"t": tensor.shape}, 1_000_000)
    with lzr2.Writer(tmp_path / "a.lzr2") as writer:
        writer.add("t", tensor, nbytes=limits["t"])
    assert 980_000 < (tmp_path / "a.lzr2").stat().st_size <= 1_000_000
