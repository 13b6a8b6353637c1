"""The order of turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.plan.order import first_uses, neighbours, next_turn, streamed_turns

orders = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def test_first_uses():
    assert first_uses([3, 1, 3, 2, 1]) == (3, 1, 2)


def test_a_block_with_two_turns_arrives_twice():
    assert streamed_turns([3, 1, 3, 2], resident={1}) == (3, 3, 2)


def test_the_last_is_followed_by_the_first():
    assert neighbours([4, 5, 6]) == ((4, 5), (5, 6), (6, 4))
    assert neighbours([]) == ()
    assert neighbours([4]) == ((4, 4),)


@given(orders, st.integers(0, 5), st.integers(0, 30))
def test_next_turn_is_the_first_in_the_endless_order(order, block, start):
    endless = order * 40
    later = [turn for turn in range(start, len(endless)) if endless[turn] == block]
    assert next_turn(order, block, start) == (later[0] if later else None)
