"""The states of a block's weights on the device, and the only ways from one to another."""

from __future__ import annotations

from enum import Enum


class BlockState(Enum):
    """Where a block's weights are."""

    EMPTY = "not on the device"
    LOADING = "on their way"
    READY = "in their slot, not in use"
    ACTIVE = "in use by the compute thread"


_ALLOWED: dict[BlockState, frozenset[BlockState]] = {
    BlockState.EMPTY: frozenset({BlockState.LOADING}),
    BlockState.LOADING: frozenset({BlockState.READY, BlockState.EMPTY}),
    BlockState.READY: frozenset({BlockState.ACTIVE, BlockState.EMPTY}),
    BlockState.ACTIVE: frozenset({BlockState.READY, BlockState.EMPTY}),
}


class BlockStates:
    """The state of each block; a step that isn't allowed is a bug and raises. Not thread-safe: its user locks."""

    def __init__(self, count: int) -> None:
        self._states = [BlockState.EMPTY] * count

    def __getitem__(self, block: int) -> BlockState:
        return self._states[block]

    def move(self, block: int, state: BlockState) -> None:
        """Changes the block's state.

        Raises:
            RuntimeError: there is no way from its state to this one.
        """
        if state not in _ALLOWED[self._states[block]]:
            raise RuntimeError(f"block {block} can't go from {self._states[block].name} to {state.name}")
        self._states[block] = state

    def which(self, state: BlockState) -> tuple[int, ...]:
        """The blocks in this state."""
        return tuple(i for i, s in enumerate(self._states) if s is state)
