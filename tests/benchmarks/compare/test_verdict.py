"""The goals, met and missed by made-up rows."""

from __future__ import annotations

import pytest

from benchmarks.compare.summary import rows, run_record
from benchmarks.compare.verdict import verdicts
from tests.benchmarks.compare.made_up import OURS, PEER, RESIDENT, child


def judged(resident, peer, ours):
    children = ((RESIDENT, resident), (PEER, peer), (OURS, ours))
    runtimes = [runtime for runtime, _ in children]
    found = verdicts(rows(runtimes, [run_record(runtime, 0, seen) for runtime, seen in children]))
    return [each.met for each in found]


GOOD = {
    "resident": child([1, 1], peak=1000),
    "peer": child([2, 2], peak=500, ready=10),
    "ours": child([1.1, 1.1], peak=250, own=200, ready=1),
}


def test_all_are_met():
    assert judged(**GOOD) == [True, True, True, True]


@pytest.mark.parametrize(
    ("worse", "missed"),
    [
        ({"peer": child([1.05, 1.05], peak=250, ready=10)}, 0),
        ({"peer": child([1.1, 1.1], peak=100, ready=10)}, 0),
        ({"ours": child([1.16, 1.16], peak=250, own=200, ready=1)}, 1),
        ({"ours": child([1.1, 1.1], peak=251, own=200, ready=1)}, 1),
        ({"ours": child([1.1, 1.1], peak=250, own=201, ready=1)}, 1),
        ({"ours": child([1.1, 1.1], peak=250, own=200, ready=9)}, 2),
        ({"ours": child([1.1, 1.1], peak=250, own=200, ready=1, digest="other")}, 3),
    ],
    ids=[
        "a faster peer",
        "a smaller one as fast",
        "too slow",
        "too much memory",
        "too much of its own",
        "too late",
        "another result",
    ],
)
def test_each_is_missed_by_what_misses_it(worse, missed):
    assert judged(**GOOD | worse) == [n != missed for n in range(4)]


def test_on_a_device_its_memory_counts():
    assert judged(
        child([1, 1], peak=1, device=1000), child([2, 2], peak=1, device=500), child([1, 1], peak=99, device=100)
    )[:2] == [True, True]
    assert judged(
        child([1, 1], peak=99, device=1000), child([1, 1], peak=99, device=50), child([1, 1], peak=1, device=300)
    )[:2] == [False, False]


def test_a_smaller_peer_may_be_slower_and_a_larger_one_faster_which_is_told():
    assert judged(**GOOD | {"peer": child([2, 2], peak=249, ready=10)}) == [True] * 4
    children = ((RESIDENT, GOOD["resident"]), (PEER, child([1.05, 1.05], peak=500, ready=10)), (OURS, GOOD["ours"]))
    records = [run_record(runtime, 0, seen) for runtime, seen in children]
    told = verdicts(rows([runtime for runtime, _ in children], records))[0]
    assert told.met
    assert told.why.startswith("0 of 1 peers use at most as much as some row")
    assert told.why.endswith(f"with more memory than all: {PEER.name}, 1.05 times resident in 5e-07 GB")


def test_without_rows_nothing_is_claimed():
    assert [each.met for each in verdicts([])] == [None] * 4
