"""Puts a module tree under the engine."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import nn

from streamer.config import StreamSettings
from streamer.plan import Block, Plan, lay_out, make_plan
from streamer.runtime.bind import Binder, ModuleBlock
from streamer.runtime.engine import Engine
from streamer.runtime.hooks import StreamHooks
from streamer.runtime.spans import SpanRecorder
from streamer.runtime.stats import StreamStats
from streamer.sources.base import WeightSource


class StreamHandle:
    """A module whose weights are streamed. Owns the engine and the source; a context manager.

    After `close` the module can't run; its parameters are placeholders.
    """

    def __init__(self, engine: Engine, hooks: StreamHooks, source: WeightSource) -> None:
        self._engine = engine
        self._hooks = hooks
        self._source = source

    @property
    def stats(self) -> StreamStats:
        """What was loaded, waited for and moved so far."""
        return self._engine.account.stats

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._engine.plan

    @property
    def budget_nbytes(self) -> int:
        """Most bytes of weights on the device. May be set between steps; BudgetError if it can't hold a block."""
        return self._engine.budget_nbytes

    @budget_nbytes.setter
    def budget_nbytes(self, nbytes: int) -> None:
        """From the next step on."""
        self._engine.set_budget(nbytes)

    @property
    def device_nbytes(self) -> int:
        """Bytes of the slab in which all weights on the device lie; never above the budget."""
        return self._engine.arena_nbytes

    @property
    def held_nbytes(self) -> int:
        """Bytes of weights kept in host memory now."""
        return self._engine.held_nbytes

    def record(self) -> SpanRecorder:
        """From now on everything is noted with its times, for a trace; a later call gives the same recorder."""
        account = self._engine.account
        if account.recorder is None:
            account.recorder = SpanRecorder()
        return account.recorder

    @property
    def source_name(self) -> str:
        """Where the weights come from."""
        return self._source.name

    @property
    def source_label(self) -> str:
        """As `source_name`, without folders."""
        return self._source.label

    def close(self) -> None:
        """Stops the workers, lets go of all memory and closes the file. Further calls do nothing."""
        self._engine.close()
        self._source.close()

    def __enter__(self) -> StreamHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_planned(blocks: Sequence[ModuleBlock], dtype: torch.dtype) -> list[Block]:
    """The blocks as the plan sees them, in the same numbering.

    Args:
        blocks: a partition of a module's parameters.
        dtype: to compute in.
    """
    itemsize = torch.empty((), dtype=dtype).element_size()
    return [
        lay_out(
            block.name,
            [(place.key, place.shape) for place in block.places],
            itemsize,
            pinned=block.pinned,
            runway=block.runway,
        )
        for block in blocks
    ]


def attach(
    root: nn.Module,
    blocks: Sequence[ModuleBlock],
    order: Sequence[int],
    source: WeightSource,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
) -> StreamHandle:
    """From now on each forward of the module finds its weights in place, bit for bit, within the budget.

    Args:
        root: the module; its parameters may still be on the meta device.
        blocks: a partition of its parameters.
        order: the turns of one forward, as numbers of blocks, as far as known.
        source: gives every parameter's values. The handle closes it; so does a failure here.
        settings: budgets and threads.
        device: to compute on.
        dtype: to compute in.

    Raises:
        BudgetError: the budget can't hold the largest block.
    """
    planned = as_planned(blocks, dtype)
    engine: Engine | None = None
    try:
        # The plan first: if the budget can't work, the module keeps its weights.
        plan = make_plan(planned, order, settings.vram_budget_nbytes)
        engine = Engine(plan, source, Binder(blocks, device, dtype), settings, device, dtype)
        return StreamHandle(engine, StreamHooks(root, blocks, engine), source)
    except BaseException:
        if engine is not None:
            engine.close()
        source.close()
        raise
