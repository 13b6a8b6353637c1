"""The bound of a step and how near the step comes to it."""

from __future__ import annotations

import pytest

from streamer.bench.overlap import Speeds, limits
from streamer.runtime.stats import Work

WORK = Work(read_nbytes=600, uploaded_nbytes=1000, decode_seconds=8.0)


@pytest.mark.parametrize(
    ("compute", "speeds", "bound", "seconds"),
    [
        (5.0, Speeds(None, None, 2), "compute", 5.0),
        (1.0, Speeds(None, None, 2), "decode", 4.0),
        (1.0, Speeds(100.0, 300.0, 8), "link", 10.0),
        (1.0, Speeds(1000.0, 60.0, 8), "disk", 10.0),
    ],
)
def test_the_slowest_is_the_bound(compute, speeds, bound, seconds):
    found = limits(compute, WORK, speeds)
    assert (found.bound, found.seconds) == (bound, seconds)
    assert found.efficiency(2 * seconds) == 0.5
