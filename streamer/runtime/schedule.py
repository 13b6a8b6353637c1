"""What to load next, as a state machine without threads, clocks or memory.

Turns are numbered on and on: turn ``t`` belongs to block ``order[t % len(order)]``. The compute thread stands at
``turn``, the loader at ``cursor``, ahead of it by at most one step. The loader takes what is next in order and never
overtakes itself: if the slot of the next block is still in use, it waits, since everything later matters less.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamer.plan import Plan
from streamer.plan.order import next_turn
from streamer.runtime.lifecycle import BlockState, BlockStates


@dataclass(frozen=True)
class Claim:
    """One tensor to load: the block's number and the tensor's within the block."""

    block: int
    tensor: int


class Schedule:
    """Decides which tensor is loaded next, and when a slot may be overwritten. Not thread-safe: its user locks.

    Args:
        plan: that is carried out. Pinned blocks come first, before the first turn.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.states = BlockStates(len(plan.blocks))
        self._turn = 0
        self._cursor = 0
        self._urgent: list[int] = [i for i, b in enumerate(plan.blocks) if b.pinned]
        self._open: int | None = None  # the block whose tensors are being handed out
        self._handed_out = 0
        self._missing: dict[int, int] = {}  # tensors of loading blocks that aren't there yet
        self._stale: set[int] = set()  # loading, but not wanted any more

    def claim(self) -> Claim | None:
        """The next tensor to load, or None while there is nothing that may be loaded."""
        while self._open is None:
            block = self._next_block()
            if block is None:
                return None
            self.states.move(block, BlockState.LOADING)
            count = len(self.plan.blocks[block].tensors)
            if count == 0:
                self.states.move(block, BlockState.READY)
                continue
            self._open, self._handed_out = block, 0
            self._missing[block] = count
        claim = Claim(self._open, self._handed_out)
        self._handed_out += 1
        if self._handed_out == len(self.plan.blocks[claim.block].tensors):
            self._open = None
        return claim

    def is_last(self, claim: Claim) -> bool:
        """Whether the claimed tensor, now written, completes its block. Counts it as written."""
        self._missing[claim.block] -= 1
        return self._missing[claim.block] == 0

    def arrived(self, block: int) -> None:
        """Every tensor of the block is on the device, or on its way there in stream order."""
        del self._missing[block]
        if block in self._stale:
            self._stale.discard(block)
            self.states.move(block, BlockState.EMPTY)
        else:
            self.states.move(block, BlockState.READY)

    def expect(self, block: int) -> bool:
        """The compute thread comes to this block. False if the order said otherwise: then everything follows it.

        Afterwards the block is ready, or is what `claim` gives as soon as its slot is free.
        """
        if self.plan.blocks[block].pinned:
            return True
        order = self.plan.order
        if order and order[self._turn % len(order)] == block:
            self._turn += 1
            return True
        self._follow(block)
        return False

    def take(self, block: int) -> bool:
        """Makes a ready block active and returns True; False while it isn't there."""
        if self.states[block] is BlockState.READY:
            self.states.move(block, BlockState.ACTIVE)
        return self.states[block] is BlockState.ACTIVE

    def release(self, block: int) -> bool:
        """The block was used. Returns whether it left the device."""
        if self.states[block] is not BlockState.ACTIVE:
            return False
        leaves = block not in self.plan.resident
        self.states.move(block, BlockState.EMPTY if leaves else BlockState.READY)
        return leaves

    def _next_block(self) -> int | None:
        while self._urgent:
            block = self._urgent[0]
            if self.states[block] is not BlockState.EMPTY:
                self._urgent.pop(0)
            elif self._slot_is_free(block):
                return self._urgent.pop(0)
            else:
                return None
        order = self.plan.order
        while order and self._cursor < self._turn + len(order):
            block = order[self._cursor % len(order)]
            if self.states[block] is BlockState.EMPTY:
                if not self._slot_is_free(block):
                    return None
                self._cursor += 1
                return block
            if block in self._stale:
                self._stale.discard(block)  # on its way for an order that isn't, but wanted after all
            elif block not in self.plan.resident and self._cursor >= self._turn:
                return None  # still there for an earlier turn: it has to come again after that
            self._cursor += 1
        return None

    def _slot_is_free(self, block: int) -> bool:
        return all(self.states[other] is BlockState.EMPTY for other in self.plan.overlapping[block])

    def _follow(self, block: int) -> None:
        """The order was another: drops what was fetched for it, and goes on from this block."""
        for other in self.states.which(BlockState.READY):
            if other != block and other not in self.plan.resident:
                self.states.move(other, BlockState.EMPTY)
        self._stale = {b for b in self.states.which(BlockState.LOADING) if b != block and b not in self.plan.resident}
        self._urgent = [b for b in self._urgent if self.plan.blocks[b].pinned]
        if self.states[block] is BlockState.EMPTY:
            self._urgent.append(block)
        turn = next_turn(self.plan.order, block, self._turn)
        if turn is not None:
            self._turn = self._cursor = turn + 1
        else:
            self._cursor = self._turn
