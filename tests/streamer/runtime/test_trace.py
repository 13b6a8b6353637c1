"""When the recorded order calls for another plan, and when not."""

from __future__ import annotations

from streamer.runtime.trace import OrderTrace


def forward(trace: OrderTrace, *blocks: int) -> tuple[int, ...] | None:
    trace.begin()
    for block in blocks:
        trace.note(block)
    return trace.finish()


def test_the_planned_order_changes_nothing():
    trace = OrderTrace([1, 2, 3])
    assert forward(trace, 1, 2, 3) is None
    assert forward(trace, 1, 2, 3) is None


def test_another_order_is_followed_at_once_and_then_is_the_planned_one():
    trace = OrderTrace([1, 2, 3])
    assert forward(trace, 2, 1, 3) == (2, 1, 3)
    assert forward(trace, 2, 1, 3) is None


def test_a_new_block_is_followed_at_once():
    assert forward(OrderTrace([1, 3]), 1, 2, 3) == (1, 2, 3)


def test_blocks_left_out_now_and_then_are_put_up_with():
    trace = OrderTrace([1, 2, 3])
    for _ in range(3):
        assert forward(trace, 1, 3) is None
        assert forward(trace, 1, 2, 3) is None


def test_blocks_left_out_twice_in_a_row_are_planned_without():
    trace = OrderTrace([1, 2, 3])
    assert forward(trace, 1, 3) is None
    assert forward(trace, 1, 3) == (1, 3)
    assert forward(trace, 1, 3) is None
    assert forward(trace, 1, 2, 3) == (1, 2, 3)


def test_a_forward_that_ran_nothing_says_nothing():
    assert forward(OrderTrace([1, 2])) is None
