"""The only ways from one state to another."""

from __future__ import annotations

import itertools

import pytest

from streamer.runtime.lifecycle import BlockState, BlockStates

E, L, R, A = BlockState.EMPTY, BlockState.LOADING, BlockState.READY, BlockState.ACTIVE
PATHS = {E: [], L: [L], R: [L, R], A: [L, R, A]}
ALLOWED = {(E, L), (L, R), (L, E), (R, A), (R, E), (A, R), (A, E)}


@pytest.mark.parametrize(("start", "end"), list(itertools.product(BlockState, BlockState)))
def test_each_way_is_allowed_or_raises(start, end):
    states = BlockStates(2)
    for state in PATHS[start]:
        states.move(1, state)
    if (start, end) in ALLOWED:
        states.move(1, end)
        assert states[1] is end
    else:
        with pytest.raises(RuntimeError, match=f"{start.name} to {end.name}"):
            states.move(1, end)
        assert states[1] is start
    assert states[0] is E


def test_which_lists_blocks_by_state():
    states = BlockStates(3)
    states.move(1, L)
    assert states.which(E) == (0, 2)
    assert states.which(L) == (1,)
