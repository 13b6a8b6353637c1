"""Rows out of children: medians, rounds compared with their own resident, peaks, digests."""

from __future__ import annotations

import json

import pytest

from benchmarks.compare.runtimes import GAUSSIAN, Runtime
from benchmarks.compare.summary import Row, Spread, not_run, rows, run_record, turns_since
from tests.benchmarks.compare.made_up import OURS, PEER, REFUSED, RESIDENT, child


def made(*children):
    runtimes = [runtime for runtime, _ in children]
    turns = [(n, runtime, seen) for runtime, rounds in children for n, seen in enumerate(rounds)]
    records = [run_record(runtime, n, seen) for n, runtime, seen in sorted(turns, key=lambda turn: turn[0])]
    return runtimes, json.loads(json.dumps(records))


def test_the_first_step_of_a_process_is_not_counted_and_steps_of_all_rounds_are():
    found = rows(*made((RESIDENT, [child([9, 1, 2]), child([9, 3, 6])])))[0]
    assert found.step_seconds == Spread(2.5, 1, 6)
    assert found.first_step_seconds == Spread(14, 14, 14)
    assert found.rounds == 2


def test_times_are_compared_with_the_resident_turns_before_and_after():
    resident = [child([1, 1]), child([3, 3]), child([20, 20])]
    found = rows(*made((RESIDENT, resident), (OURS, [child([4, 4]), child([23, 23])])))
    assert found[1].against_resident == Spread(2, 2, 2)  # not 27/2 by 24/3
    assert found[0].against_resident == Spread(1, 1, 1)


def test_without_a_resident_turn_after_it_the_one_before_counts():
    found = rows(*made((RESIDENT, [child([2, 2])]), (OURS, [child([3, 3])])))
    assert found[1].against_resident == Spread(1.5, 1.5, 1.5)


def test_turns_are_counted_without_those_that_failed():
    _, records = made((RESIDENT, [child()]), (OURS, [child()]), (PEER, [child(reason="no")]))
    assert turns_since(RESIDENT, records) == 1
    assert turns_since(OURS, records) == 0


def test_without_a_resident_nothing_is_compared():
    found = rows(*made((OURS, [child()])))[0]
    assert found.against_resident is None
    assert found.equal is None


def test_the_peak_is_of_the_whole_process_and_of_the_worst_round():
    found = rows(*made((OURS, [child(peak=100, own=10), child(peak=300, own=30)])))[0]
    assert (found.peak_nbytes, found.own_nbytes, found.steps_peak_nbytes) == (300, 30, 300)


def test_loading_may_be_the_peak():
    seen = child(peak=100)
    seen.peak_load_nbytes = 999
    found = rows(*made((OURS, [seen])))[0]
    assert (found.peak_nbytes, found.steps_peak_nbytes) == (999, 100)


@pytest.mark.parametrize(
    ("digests", "equal"), [(["same", "same"], True), (["same", "other"], False), (["other", "other"], False)]
)
def test_every_step_of_every_round_has_to_be_equal(digests, equal):
    found = rows(*made((RESIDENT, [child(), child()]), (OURS, [child(digest=digest) for digest in digests])))
    assert found[1].equal is equal


def test_a_cold_step_has_to_be_equal_too():
    seen = child(cold=[3])
    seen.marks[-2]["digest"] = "other"
    assert rows(*made((RESIDENT, [child()]), (OURS, [seen])))[1].equal is False


def test_a_resident_that_disagrees_with_itself_makes_nothing_equal():
    children = (RESIDENT, [child(digest="a"), child(digest="b")]), (OURS, [child(digest="a"), child(digest="b")])
    assert [row.equal for row in rows(*made(*children))] == [False, False]


def test_each_set_of_weights_has_its_own_reference_which_is_no_row():
    reference = Runtime("reference", "reference", "resident", weights=GAUSSIAN)
    ours = Runtime("ours", "this project", "streamed", weights=GAUSSIAN)
    children = (
        (RESIDENT, [child(digest="lattice")]),
        (reference, [child(digest="gaussian")]),
        (ours, [child(digest="gaussian")]),
    )
    found = rows(*made(*children))
    assert [(row.name, row.equal) for row in found] == [("resident", True), ("ours", True)]


def test_the_largest_difference_of_all_rounds_is_kept():
    children = [child(), child(), child()]
    for seen, difference in zip(children, (0.5, None, 0.75), strict=True):
        seen.marks[-1]["difference"] = difference
    assert rows(*made((OURS, children)))[0].largest_difference == 0.75


def test_cold_steps_are_apart():
    found = rows(*made((OURS, [child(cold=[8], read=100)])))[0]
    assert found.cold_step_seconds == Spread(8, 8, 8)
    assert (found.read_nbytes, found.cold_read_nbytes) == (100, 700)
    assert found.step_seconds.high == 1


@pytest.mark.parametrize("cached", [1, None])
def test_a_step_before_which_something_was_left_or_may_have_been_is_no_cold_one(cached):
    seen = child(cold=[8])
    seen.marks[-2]["cached"] = cached
    found = rows(*made((RESIDENT, [child(), child()]), (OURS, [seen])))[1]
    assert (found.cold_step_seconds, found.cold_against_resident, found.cold_read_nbytes) == (None, None, None)


def test_cold_steps_are_compared_with_the_resident_ones_usual_steps():
    found = rows(*made((RESIDENT, [child([2, 2], cold=[50])]), (OURS, [child([3, 3], cold=[5])])))[1]
    assert found.cold_against_resident == Spread(2.5, 2.5, 2.5)


def test_a_record_of_a_runtime_that_there_is_not_is_told():
    _, records = made((RESIDENT, [child()]))
    with pytest.raises(ValueError, match="no runtime 'resident'"):
        rows([OURS], records)


def test_memory_that_is_not_known_stays_unknown():
    found = rows(*made((OURS, [child(peak=None, own=None)])))[0]
    assert (found.peak_nbytes, found.own_nbytes, found.steps_peak_nbytes) == (None, None, None)


def test_what_failed_in_every_round_is_listed_with_its_reason_and_is_no_row():
    runtimes, records = made((RESIDENT, [child()]), (REFUSED, [child(reason="there is no GPU")]))
    assert [row.name for row in rows(runtimes, records)] == ["resident"]
    assert not_run(runtimes, records) == [{"name": "mmgp", "reason": "there is no GPU"}]


def test_what_failed_in_one_round_is_a_row_of_the_others_and_told():
    runtimes, records = made((PEER, [child(), child(reason="killed")]))
    assert [row.rounds for row in rows(runtimes, records)] == [1]
    assert not_run(runtimes, records) == [{"name": PEER.name, "reason": "in 1 of 2 turns: killed"}]


def test_what_is_not_finite_is_equal_to_nothing():
    seen = child()
    seen.marks[1]["finite"] = False
    assert [row.equal for row in rows(*made((RESIDENT, [child()]), (OURS, [seen])))] == [True, False]


def test_a_row_survives_json():
    found = rows(*made((RESIDENT, [child(cold=[1])]), (OURS, [child(device=5)])))
    assert [Row.from_json(json.loads(json.dumps(row.to_json()))) for row in found] == found
