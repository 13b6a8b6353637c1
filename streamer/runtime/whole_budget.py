"""One budget for the weights in slots and all of the module that doesn't stream."""

from __future__ import annotations

import threading

from streamer.errors import BudgetError
from streamer.runtime.engine import Engine
from streamer.runtime.in_memory import InMemory


class WholeBudget:
    """What the module has on the device, streamed or not, never takes more than the budget.

    Args:
        engine: has the rest of the budget, beside what is in memory.
        in_memory: of the engine's module.
    """

    def __init__(self, engine: Engine, in_memory: InMemory) -> None:
        self._engine = engine
        self._in_memory = in_memory
        self._lock = threading.RLock()
        self._reserved_nbytes = in_memory.nbytes

    @property
    def nbytes(self) -> int:
        """The budget."""
        return self._engine.budget_nbytes + self._reserved_nbytes

    @property
    def reserved_nbytes(self) -> int:
        """Of the budget, for what doesn't stream, as of the last step."""
        return self._reserved_nbytes

    @property
    def smallest_nbytes(self) -> int:
        """The smallest with which a step can run."""
        return self._engine.smallest_nbytes + self._in_memory.nbytes

    @property
    def total_nbytes(self) -> int:
        """With this, everything stays."""
        return self._engine.total_nbytes + self._in_memory.nbytes

    def set(self, nbytes: int) -> None:
        """From the next step on; not while one runs.

        Raises:
            BudgetError: it can't hold what is in memory and the largest block; the budget stays what it was.
        """
        with self._lock:
            reserved = self._in_memory.nbytes
            try:
                self._engine.set_budget(nbytes - reserved)
            except BudgetError as error:
                raise with_reserved(error, reserved) from None
            self._reserved_nbytes = reserved

    def renew(self) -> None:
        """Before each step: where other adapters are in memory than before, weights get what they leave.

        Raises:
            BudgetError: they leave too little.
        """
        with self._lock:  # else a budget that another thread sets meanwhile would be taken back
            if self._in_memory.nbytes != self._reserved_nbytes:
                self.set(self.nbytes)


def with_reserved(error: BudgetError, reserved_nbytes: int) -> BudgetError:
    """The error about what weights were left, as one about the whole budget."""
    return BudgetError(
        error.budget_nbytes + reserved_nbytes, error.smallest_nbytes + reserved_nbytes, error.largest_block, "budget"
    )
