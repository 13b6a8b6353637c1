"""The goals, met and missed by made-up rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.compare.summary import rows, run_record
from benchmarks.compare.verdict import verdicts
from tests.benchmarks.compare.made_up import OURS, PEER, RESIDENT, child

FASTER, SMALL, EARLY, ALL, EQUAL = range(5)
"""Places of the goals where there is one kind of file."""


def told(*children, on_device=False):
    runtimes = list({runtime.name: runtime for runtime, _ in children}.values())
    return verdicts(rows(runtimes, [run_record(runtime, 0, seen) for runtime, seen in children]), on_device)


def judged(resident, peer, ours, on_device=False):
    found = told((RESIDENT, resident), (PEER, peer), (OURS, ours), on_device=on_device)
    return [each.met for each in found]


GOOD = {
    "resident": child([1, 1], peak=1000),
    "peer": child([2, 2], peak=240, ready=10),
    "ours": child([1.1, 1.1], peak=250, own=200, ready=1),
}


def test_all_are_met():
    assert judged(**GOOD) == [True] * 5
    assert all(each.in_every_turn for each in told(*zip((RESIDENT, PEER, OURS), GOOD.values(), strict=True)))


@pytest.mark.parametrize(
    ("worse", "missed"),
    [
        ({"peer": child([1.05, 1.05], peak=250, ready=10)}, {FASTER, ALL}),
        ({"peer": child([1.1, 1.1], peak=100, ready=10)}, {FASTER, ALL}),
        ({"peer": child([1.1, 1.1], peak=900, own=200, ready=10)}, {FASTER, ALL}),
        ({"ours": child([1.16, 1.16], peak=250, own=200, ready=1)}, {SMALL, ALL}),
        ({"ours": child([1.1, 1.1], peak=251, own=200, ready=1)}, {SMALL, ALL}),
        ({"ours": child([1.1, 1.1], peak=250, own=201, ready=1)}, {SMALL, ALL}),
        ({"ours": child([1.1, 1.1], peak=250, own=200, ready=9)}, {EARLY, ALL}),
        ({"ours": child([1.1, 1.1], peak=250, own=200, ready=1, digest="other")}, {EQUAL}),
    ],
    ids=[
        "a faster peer",
        "a smaller one as fast",
        "one that is as small without pages of files",
        "too slow",
        "too much memory",
        "too much of its own",
        "too late",
        "another result",
    ],
)
def test_each_is_missed_by_what_misses_it(worse, missed):
    assert judged(**GOOD | worse) == [n not in missed for n in range(5)]


def test_on_a_device_its_memory_counts():
    assert judged(
        child([1, 1], peak=1, device=1000),
        child([2, 2], peak=1, device=90),
        child([1, 1], peak=99, device=100),
        on_device=True,
    )[:2] == [True, True]
    assert judged(
        child([1, 1], peak=99, device=1000),
        child([1, 1], peak=99, device=50),
        child([1, 1], peak=1, device=300),
        on_device=True,
    )[:2] == [False, False]


def test_a_device_whose_memory_is_not_known_is_not_judged_by_the_process():
    assert judged(**GOOD, on_device=True) == [None, None, True, None, True]


def test_a_smaller_peer_may_be_slower_and_a_larger_one_faster_which_is_told():
    larger = replace(PEER, name="larger")
    children = [(RESIDENT, GOOD["resident"]), (PEER, GOOD["peer"]), (OURS, GOOD["ours"])]
    found = told(*children, (larger, child([1.05, 1.05], peak=500, ready=10)))[FASTER]
    assert found.met
    assert found.why.startswith(f"at most as much as some row, of 2 peers: {PEER.name};")
    assert f"faster than {OURS.name}, with more memory: larger, 1.05" in found.why


def test_where_no_peer_is_as_small_being_faster_than_those_means_nothing():
    found = told((RESIDENT, GOOD["resident"]), (PEER, child([9, 9], peak=500)), (OURS, GOOD["ours"]))[FASTER]
    assert found.met is None
    assert not found.in_every_turn


def test_a_peer_that_is_larger_than_one_row_only_is_told_for_that_row():
    slow = replace(OURS, name="this project, LZR2 lattice-heavy, 4GB")
    found = told(
        (RESIDENT, child([1, 1], peak=1000)),
        (PEER, child([1.4, 1.4], peak=500, own=500)),
        (OURS, child([1.1, 1.1], peak=700, own=700)),
        (slow, child([1.6, 1.6], peak=400, own=400)),
    )[FASTER]
    assert found.met
    assert f"faster than {slow.name}, with more memory: {PEER.name}" in found.why


def test_a_first_start_is_judged_apart():
    first = replace(OURS, name=f"{OURS.name}, first start", first_start=True)
    late = child([1.1, 1.1], peak=250, own=200, ready=30)
    found = told((RESIDENT, GOOD["resident"]), (PEER, GOOD["peer"]), (OURS, GOOD["ours"]), (first, late))
    by_goal = {each.goal: each for each in found}
    assert by_goal["LZR2 lattice-heavy: the first step is done before any offload peer has loaded its model"].met
    assert by_goal[f"{first.name}: the first step is done before any offload peer has loaded its model"].met is False


def test_who_offloads_nothing_and_has_loaded_earlier_is_named():
    early = replace(PEER, name="diffusers layerwise casting, by hand")
    children = [(RESIDENT, GOOD["resident"]), (PEER, GOOD["peer"]), (OURS, GOOD["ours"])]
    found = told(*children, (early, child([2, 2], peak=500, ready=2)))[EARLY]
    assert found.met
    assert found.why.endswith(f"{early.name}, which offloads nothing, had after 2.0 s (2.0 to 2.0)")


def test_each_kind_of_file_has_its_own_verdict():
    other = replace(OURS, name="this project, safetensors, 1GB")
    large = child([1.1, 1.1], peak=600, own=600, ready=20)
    found = told((RESIDENT, GOOD["resident"]), (PEER, GOOD["peer"]), (OURS, GOOD["ours"]), (other, large))
    by_goal = {each.goal.partition(":")[0] + str(n): each.met for n, each in enumerate(found)}
    assert by_goal["LZR2 lattice-heavy1"]
    assert not by_goal["safetensors2"]
    assert by_goal["LZR2 lattice-heavy3"]
    assert not by_goal["safetensors4"]
    assert found[-2].met
    assert found[-2].why == OURS.name


def test_what_holds_for_the_median_but_not_for_each_turn_is_told():
    ours = [child([1.0, time], peak=250, own=200, ready=1) for time in (1.1, 1.1, 1.2)]
    children = [(RESIDENT, child([1, 1])), *((OURS, each) for each in ours), (PEER, child([1.19, 1.19], peak=250))]
    found = told(*children, (RESIDENT, child([1, 1])))
    assert [found[n].met for n in (FASTER, SMALL, ALL)] == [True, True, True]
    assert not any(found[n].in_every_turn for n in (FASTER, SMALL, ALL))
    assert found[EQUAL].in_every_turn


def test_a_peer_that_is_as_fast_in_some_turns_is_told_where_all_is_judged_at_once():
    peers = [(PEER, child([1, time], peak=240, ready=10)) for time in (1.05, 2, 2)]
    found = told((RESIDENT, GOOD["resident"]), *peers, (OURS, GOOD["ours"]), (RESIDENT, GOOD["resident"]))
    assert [found[n].met for n in (FASTER, ALL)] == [True, True]
    assert [found[n].in_every_turn for n in (FASTER, SMALL, ALL)] == [False, True, False]


def test_the_page_cache_and_a_step_without_it_are_told_beside_the_memory():
    ours = child([1.1, 1.1], peak=250, own=200, cached=5_000_000_000, cold=[1.4])
    found = told((RESIDENT, GOOD["resident"]), (PEER, GOOD["peer"]), (OURS, ours))[SMALL]
    assert "4.0 times less, and 5 GB of files in the page cache (1.40 with none)" in found.why


def test_without_rows_or_without_memory_nothing_is_claimed():
    assert [each.met for each in verdicts([], False)] == [None] * 5
    unknown = {key: replace(seen, **dict.fromkeys(MEMORY)) for key, seen in GOOD.items()}
    assert judged(**unknown) == [None, None, True, None, True]


MEMORY = ("peak_load_nbytes", "peak_steps_nbytes", "own_load_nbytes", "own_steps_nbytes")
