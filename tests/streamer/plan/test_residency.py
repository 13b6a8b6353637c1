"""Which blocks stay first: the runway, then an even spread."""

from __future__ import annotations

import pytest
from hypothesis import given

from streamer.plan.residency import evenly_spread, keep_order
from tests.streamer.plan.examples import any_turns, block


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 31, 64, 65, 87, 200])
def test_any_first_k_of_n_are_evenly_spread(n):
    chosen = evenly_spread(n)
    for k in range(1, n + 1):
        places = sorted(chosen[:k])
        following = [*places[1:], places[0] + n]
        assert max(b - a for a, b in zip(places, following, strict=True)) < 2 * n / k


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8, 100])
def test_the_spread_is_a_permutation(n):
    assert sorted(evenly_spread(n)) == list(range(n))


@given(any_turns())
def test_room_is_given_to_every_block_with_a_turn_and_to_the_runway_first(example):
    ordered = keep_order(example.blocks, example.order)
    assert sorted(ordered) == sorted(set(example.order))
    runway = [example.blocks[i].runway for i in ordered]
    assert runway == sorted(runway, reverse=True)


def test_the_spread_is_by_turn_not_by_number():
    blocks = [block(f"b{i}", 1) for i in range(4)]
    assert keep_order(blocks, [3, 2, 1, 0]) == (3, 1, 2, 0)
