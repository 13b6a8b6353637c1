"""Plain numpy decodes what the slow reference does."""

from __future__ import annotations

import numpy as np
import pytest

import lzr2
from streamer.bench.plain_decode import decode
from tests.lzr2.reference import GOLDEN, golden_names
from tests.lzr2.reference import decode as slowly


@pytest.mark.parametrize("name", golden_names())
def test_every_golden_file_gives_the_references_weights(name):
    data = (GOLDEN / f"{name}.lzr2").read_bytes()
    wanted = slowly(data)
    with lzr2.open(data) as file:
        for key in file:
            got = decode(memoryview(data), file.record(key))
            assert got.shape == wanted[key].shape
            np.testing.assert_array_equal(got, wanted[key])  # what isn't a number may be written in several ways
            out = np.ones(got.size, np.float16)
            np.testing.assert_array_equal(decode(memoryview(data), file.record(key), out), got)
            np.testing.assert_array_equal(out, got.reshape(-1))
