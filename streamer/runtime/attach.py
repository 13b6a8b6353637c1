"""Puts a module tree under the engine."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

from streamer.config import StreamSettings, parse_size
from streamer.plan import Plan
from streamer.runtime.assembly import Assembly, Streaming
from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.engine import Engine
from streamer.runtime.share import OnForward
from streamer.runtime.spans import SpanRecorder
from streamer.runtime.stats import StreamStats
from streamer.sources.base import WeightSource


class StreamHandle:
    """A module whose weights are streamed. Owns the engine and the source; a context manager.

    After `close` the module can't run; its parameters are placeholders.
    """

    def __init__(self, streaming: Streaming, assembly: Assembly) -> None:
        self._streaming = streaming
        self._assembly = assembly
        # Whoever forgets to close the handle: with the module, threads and files go too.
        self._current = [assembly.engine]
        weakref.finalize(streaming.root, _let_go, self._current, streaming.source)

    @property
    def _engine(self) -> Engine:
        return self._assembly.engine

    @property
    def _source(self) -> WeightSource:
        return self._streaming.source

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
        return self._engine.device_nbytes

    @property
    def total_nbytes(self) -> int:
        """Bytes of all weights on the device, if all of them stay."""
        return self._engine.total_nbytes

    @property
    def smallest_nbytes(self) -> int:
        """The fewest bytes of weights on the device that a forward can run with."""
        return self._engine.smallest_nbytes

    def set_budget(self, nbytes: int) -> None:
        """As setting `budget_nbytes`."""
        self._engine.set_budget(nbytes)

    @property
    def ran_short(self) -> bool:
        """Whether the last forward ran out of device memory at first."""
        return self._engine.shrunk_nbytes is not None

    def take_shrunk(self) -> int | None:
        """The bytes of weights with which a forward succeeded that had run out of memory before; None: none did.

        Told once.
        """
        shrunk, self._engine.shrunk_nbytes = self._engine.shrunk_nbytes, None
        return shrunk

    def suspend(self) -> None:
        """Lets go of all memory on the device until the next forward; EngineBusyError while another thread's runs."""
        self._engine.suspend()

    def require_idle(self) -> None:
        """Returns unless another thread is in a forward.

        Raises:
            EngineBusyError: one is.
        """
        self._engine.require_idle()

    @property
    def held_nbytes(self) -> int:
        """Bytes of weights kept in host memory now."""
        return self._engine.host.held_nbytes

    @property
    def spill_path(self) -> Path | None:
        """Of the file on a local disk that has decoded weights; None without one."""
        return self._engine.host.spill_path

    @property
    def budget(self) -> int:
        """As `budget_nbytes`; may also be set to a text such as ``4GB``."""
        return self.budget_nbytes

    @budget.setter
    def budget(self, size: int | str) -> None:
        """From the next step on."""
        self._engine.set_budget(parse_size(size) if isinstance(size, str) else size)

    def detach(self) -> None:
        """The module is an ordinary one again, with all its weights in memory. Not while it runs.

        If they can't be read or don't fit, nothing has changed. Afterwards this is closed.
        """
        filled = self._filled([place for block in self._assembly.blocks for place in block.places])
        self._assembly.undo()
        for place, values in filled:
            place.parameter.data = values
        self._source.close()

    def release(self, module: nn.Module) -> None:
        """The submodule's parameters are ordinary ones from now on, in the device's memory; the rest streams on.

        For a part that a program is about to change. Not while the module runs. If the weights can't be read or don't
        fit, nothing has changed. Without effect on what doesn't stream.

        Raises:
            EngineBusyError: another thread is in a forward.
            StreamerError: the weights can't be read.
        """
        engine, blocks = self._engine, self._assembly.blocks
        inside = {id(each) for each in module.modules()}
        leaving = [place for block in blocks for place in block.places if id(place.owner) in inside]
        if not leaving:
            return
        engine.require_idle()
        filled = self._filled(leaving)
        staying = [
            replace(block, places=tuple(place for place in block.places if id(place.owner) not in inside))
            for block in blocks
        ]
        numbers = [i for i, block in enumerate(staying) if block.places or block.pinned]
        order = [numbers.index(i) for i in engine.plan.order if i in numbers]
        settings = replace(self._streaming.settings, vram_budget_nbytes=engine.budget_nbytes)
        asleep = not engine.device_nbytes
        self._assembly.undo()
        for place, values in filled:
            place.parameter.data = values
        self._streaming = replace(self._streaming, settings=settings)
        self._assembly = Assembly(self._streaming, [staying[i] for i in numbers], order, asleep=asleep)
        self._current[:] = [self._assembly.engine]

    def _filled(self, places: Sequence[ParameterPlace]) -> list[tuple[ParameterPlace, torch.Tensor]]:
        return [(place, _read(self._source, place)) for place in places]

    def record(self) -> SpanRecorder:
        """From now on everything is noted with its times, for a trace; a later call gives the same recorder."""
        return self._engine.record()

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

    def __deepcopy__(self, memo: dict[int, object]) -> StreamHandle:
        """Itself: a module that was detached may be copied with the handle that it had."""
        return self

    def __enter__(self) -> StreamHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach(
    root: nn.Module,
    blocks: Sequence[ModuleBlock],
    order: Sequence[int],
    source: WeightSource,
    settings: StreamSettings,
    device: torch.device,
    dtype: torch.dtype,
    *,
    asleep: bool = False,
    on_forward: OnForward | None = None,
    keeps_type: bool = False,
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
        asleep: take no device memory before the first forward.
        on_forward: told of the arguments before each forward; may set the budget.
        keeps_type: a cast of the module is passed over instead of refused.

    Raises:
        BudgetError: the budget can't hold the largest block.
    """
    streaming = Streaming(root, source, settings, device, dtype, on_forward, keeps_type)
    try:
        return StreamHandle(streaming, Assembly(streaming, blocks, order, asleep=asleep))
    except BaseException:
        source.close()
        raise


def _read(source: WeightSource, place: ParameterPlace) -> torch.Tensor:
    """The parameter's values in memory of their own, where and as the parameter is."""
    values = torch.empty(place.shape, dtype=place.parameter.dtype)
    source.read_into(place.key, values)
    return values.to(place.parameter.device)


def _let_go(current: Sequence[Engine], source: WeightSource) -> None:
    for engine in current:
        engine.close()
    source.close()
