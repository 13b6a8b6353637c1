"""Results in order, not too far ahead; faults with their key; no thread left."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lzr2.errors import EncodeError
from streamer.convert.ahead import ahead

ARRAYS = {f"t{i}": np.full(3, i, np.float16) for i in range(9)}


def left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("streamer-encode")]


@pytest.mark.parametrize("jobs", [1, 2, 20])
def test_in_order_whatever_takes_longest(jobs):
    def work(key, values):
        time.sleep(0.01 * (key in ("t0", "t4")))
        return float(values[0])

    assert list(ahead(ARRAYS, work, jobs)) == [(f"t{i}", float(i)) for i in range(9)]
    assert not left()


def test_not_further_ahead_than_the_jobs():
    begun = []
    results = ahead(ARRAYS, lambda key, values: begun.append(key), 2)
    for done, _ in enumerate(results, 1):
        time.sleep(0.005)
        assert len(begun) <= done + 2


@pytest.mark.parametrize("error", [EncodeError("no"), OSError(5, "gone")])
def test_a_fault_comes_in_its_place_and_leaves_no_thread(error):
    def work(key, values):
        if key == "t3":
            raise error
        return key

    seen = []
    with pytest.raises(type(error)):
        seen.extend(key for key, _ in ahead(ARRAYS, work, 2))
    assert seen == ["t0", "t1", "t2"]
    assert getattr(error, "key", "t3") == "t3"
    assert not left()


def test_given_up_it_leaves_no_thread():
    results = ahead(ARRAYS, lambda key, values: key, 3)
    next(results)
    results.close()
    assert not left()
