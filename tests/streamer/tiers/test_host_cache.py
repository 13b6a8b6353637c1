"""Weights kept in host memory between steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.base import TensorInfo
from streamer.tiers.host_cache import HostCache, choose, choose_smaller
from tests.streamer.tower import MemorySource

KEYS = "abcdefgh"
sizes = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 30), min_size=1)


def source_of(given_sizes: dict[str, int]) -> MemorySource:
    return MemorySource({key: torch.full((n,), float(ord(key))) for key, n in given_sizes.items()})


def keeping(below: MemorySource, kept: Collection[str], budget: int) -> HostCache:
    cache = HostCache(below, budget)
    cache.keep(kept)
    return cache


def read(cache: HostCache, key: str) -> torch.Tensor:
    out = torch.full(cache.info(key).shape, -1.0)
    cache.read_into(key, out)
    return out


class Misjudged(MemorySource):
    """Announces tensors as smaller in memory than they turn out to be."""

    def info(self, key: str) -> TensorInfo:
        info = super().info(key)
        return replace(info, held_nbytes=info.held_nbytes // 3)


@given(sizes, st.data(), st.integers(0, 500), st.booleans())
def test_any_reads_give_the_right_values_within_the_budget(given_sizes, data, budget, misjudged):
    below = source_of(given_sizes)
    if misjudged:
        below = Misjudged(below.tensors)
    kept = choose(below, [[key] for key in given_sizes], budget)
    cache = keeping(below, kept, budget)
    for key in data.draw(st.lists(st.sampled_from(sorted(given_sizes)), max_size=20)):
        assert torch.equal(read(cache, key), below.tensors[key])
        assert cache.held_nbytes <= budget
    if not misjudged:
        assert all(below.reads.count(key) <= 1 for key in kept)


def test_each_kept_tensor_is_read_from_below_once_and_the_others_each_time():
    below = source_of({"a": 2, "b": 3})
    cache = keeping(below, ["a"], 100)
    for _ in range(3):
        read(cache, "a")
        read(cache, "b")
    assert (below.reads.count("a"), below.reads.count("b")) == (1, 3)
    assert cache.held_nbytes == 8


def test_a_tensor_larger_than_announced_is_read_again_each_time():
    below = Misjudged(source_of({"a": 6, "b": 1}).tensors)
    kept = choose(below, ["a", "b"], 16)
    assert kept == {"a", "b"}
    cache = keeping(below, kept, 16)
    for _ in range(2):
        assert [read(cache, key).numel() for key in "ab"] == [6, 1]
    assert (below.reads.count("a"), below.reads.count("b")) == (2, 1)
    assert cache.held_nbytes == 4


def test_a_kept_tensor_that_is_asked_for_in_its_held_form_is_read_once_too():
    below = source_of({"a": 2, "b": 3})
    cache = keeping(below, ["a"], 100)
    out = torch.empty(2)
    for _ in range(3):
        cache.hold("a").write_into(out)
        cache.hold("b")
        assert torch.equal(read(cache, "a"), out)
    assert (below.reads.count("a"), below.reads.count("b")) == (1, 3)
    assert cache.held_nbytes == 8


def test_two_threads_that_ask_at_once_both_get_it_and_it_is_kept_once():
    below = source_of({"a": 4, "b": 1})
    below.gates["a"] = threading.Event()
    cache = keeping(below, "ab", 33)  # "a" twice would leave too little for "b"
    results: list[list[float]] = []
    threads = [threading.Thread(target=lambda: results.append(read(cache, "a").tolist())) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(below.reads) < 2:
        time.sleep(0.001)
    below.gates["a"].set()
    for thread in threads:
        thread.join(10)
    assert results == [[97.0] * 4] * 2
    assert cache.held_nbytes == 16
    for _ in range(2):
        read(cache, "a")
        read(cache, "b")
    assert below.reads == ["a", "a", "b"]


def test_a_read_that_fails_leaves_the_cache_as_it_was():
    below = source_of({"a": 4})
    below.fails["a"] = OSError("gone")
    cache = keeping(below, "a", 16)
    with pytest.raises(OSError, match="gone"):
        read(cache, "a")
    assert cache.held_nbytes == 0
    below.fails.clear()
    assert read(cache, "a").tolist() == [97.0] * 4


def test_other_questions_go_to_the_source_below():
    below = source_of({"a": 4, "b": 2})
    cache = keeping(below, "a", 16)
    assert cache.name == "memory"
    assert set(cache.keys()) == {"a", "b"}
    assert cache.info("b") == below.info("b")
    assert cache.hold("b").nbytes == 8
    assert cache.held_nbytes == 0


def test_hints_are_passed_on_until_the_tensor_is_kept():
    below = source_of({"a": 4, "b": 2})
    hints: list[str] = []
    below.will_need = hints.append  # type: ignore[method-assign]
    cache = keeping(below, "a", 16)
    for _ in range(2):
        cache.will_need("a")
        cache.will_need("b")
        read(cache, "a")
    assert hints == ["a", "b", "b"]


def test_closing_lets_go_of_what_is_kept_but_not_of_the_source():
    below = source_of({"a": 4})
    cache = keeping(below, "a", 16)
    read(cache, "a")
    cache.close()
    assert cache.held_nbytes == 0
    assert not below.closed


@given(sizes, st.integers(0, 500), st.integers(0, 500))
def test_a_larger_budget_chooses_more_and_never_too_much(given_sizes, one, other):
    below = source_of(given_sizes)
    groups = [list(given_sizes)[start : start + 2] for start in range(0, len(given_sizes), 2)]
    smaller, larger = (choose(below, groups, b) for b in sorted((one, other)))
    assert smaller <= larger
    assert sum(below.info(key).held_nbytes for key in larger) <= max(one, other)


def test_whole_groups_are_chosen_first_ones_first():
    below = source_of({"a": 1, "b": 1, "c": 2, "d": 2, "e": 1})
    groups = ["ab", "cd", "e"]
    assert choose(below, groups, 8) == {"a", "b"}
    assert choose(below, groups, 23) == {"a", "b"}
    assert choose(below, groups, 24) == {"a", "b", "c", "d"}
    assert choose(below, groups, 7) == frozenset()
    assert choose(below, groups, 28) == set("abcde")


def test_what_takes_more_than_half_of_its_bytes_in_the_file_may_be_left_out():
    class Packed(MemorySource):
        def info(self, key: str) -> TensorInfo:
            info = super().info(key)
            return replace(info, stored_nbytes=2 * info.held_nbytes - (key == "a"))

    below = Packed(source_of({"a": 1, "b": 1}).tensors)
    assert choose_smaller(below, ["ab"], 100, 0) == {"b"}
    assert choose(below, ["ab"], 100) == {"a", "b"}


class Stored(MemorySource):
    """Takes other sizes in its file and in host memory."""

    def __init__(self, stored_and_held: dict[str, tuple[int, int]]) -> None:
        super().__init__({key: torch.zeros(100) for key in stored_and_held})
        self._sizes = stored_and_held

    def info(self, key: str) -> TensorInfo:
        stored, held = self._sizes[key]
        return replace(super().info(key), stored_nbytes=stored, held_nbytes=held)


@given(
    st.dictionaries(st.sampled_from(KEYS), st.tuples(st.integers(1, 900), st.integers(1, 200)), min_size=1),
    st.integers(0, 1000),
    st.lists(st.integers(0, 1000), min_size=2, max_size=2),
)
def test_what_is_much_larger_in_its_file_is_kept_first_and_what_is_packed_as_far_as_is_said(stored, budget, packed):
    below = Stored(stored)
    groups = [list(stored)[start : start + 2] for start in range(0, len(stored), 2)]
    less, more = (choose_smaller(below, groups, budget, nbytes) for nbytes in sorted(packed))
    wasteful = {key for key, (in_file, held) in stored.items() if 2 * held <= in_file}
    assert less <= more
    assert less & wasteful == more & wasteful == choose_smaller(below, groups, budget, 0)
    assert all(key in wasteful or stored[key][1] <= 50 for key in more)
    assert sum(stored[key][1] for key in more) <= budget
    assert sum(stored[key][1] for key in more - wasteful) <= max(packed)


def test_packed_tensors_are_kept_by_whole_groups():
    below = Stored({"a": (60, 40), "b": (60, 40), "c": (400, 200), "d": (390, 200)})
    assert choose_smaller(below, ["ab", "cd"], 1000, 79) == {"c"}
    assert choose_smaller(below, ["ab", "cd"], 1000, 80) == {"a", "b", "c"}
    assert choose_smaller(below, ["ab", "cd"], 250, 80) == {"c"}


def test_another_choice_lets_go_of_what_is_no_longer_kept_and_makes_room():
    below = source_of({"a": 4, "b": 4})
    cache = keeping(below, "a", 16)
    read(cache, "a")
    cache.keep("b")
    assert cache.held_nbytes == 0
    read(cache, "b")
    read(cache, "b")
    read(cache, "a")
    assert below.reads == ["a", "b", "a"]
    assert cache.held_nbytes == 16


def test_what_should_not_stay_in_the_page_cache_is_told_once_read():
    below = source_of({"a": 4, "b": 4, "c": 1})
    cache = HostCache(below, 16)
    cache.keep("a", dropped="ab")
    for key in "aca":
        read(cache, key)
    cache.hold("b")
    assert below.hints == [("won't need", "a"), ("won't need", "b")]


def test_what_should_be_kept_and_finds_no_room_stays_in_the_page_cache_for_it_is_read_again():
    below = source_of({"a": 4, "b": 4})
    cache = HostCache(below, 16)
    cache.keep("ab", dropped="ab")
    for key in "abb":
        read(cache, key)
    assert below.reads == ["a", "b", "b"]
    assert below.hints == [("won't need", "a")]
