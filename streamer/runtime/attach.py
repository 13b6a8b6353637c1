"""Puts a module tree under the engine."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

from streamer.config import StreamSettings, parse_size
from streamer.errors import BudgetError, EngineClosedError, SettingError
from streamer.plan import Block, Plan, lay_out, make_plan
from streamer.runtime.adapter_layers import AdapterLayers, require_unmerged
from streamer.runtime.bind import Binder, ModuleBlock, ParameterPlace
from streamer.runtime.compiling import CompiledBlocks
from streamer.runtime.engine import Engine
from streamer.runtime.forgotten import let_go
from streamer.runtime.freed_memory import give_back
from streamer.runtime.gate import Gate
from streamer.runtime.guards import Guards
from streamer.runtime.hooks import StreamHooks
from streamer.runtime.in_memory import InMemory
from streamer.runtime.passage import Passage
from streamer.runtime.share import OnForward
from streamer.runtime.spans import SpanRecorder
from streamer.runtime.state_dict import StateDict
from streamer.runtime.stats import StreamStats
from streamer.runtime.whole_budget import WholeBudget, with_reserved
from streamer.sources.base import WeightSource
from streamer.sources.closing import close_after_failure, close_all

_HANDLE = "_stream_handle"
"""In a streamed module's own attributes."""


class StreamHandle:
    """A module whose weights are streamed. Owns the engine and the source; a context manager.

    After `close` the module can't run; its parameters are placeholders.
    """

    def __init__(
        self,
        engine: Engine,
        source: WeightSource,
        blocks: Sequence[ModuleBlock],
        planned: Callable[[Sequence[ModuleBlock]], list[Block]],
        passage: Passage,
        in_memory: InMemory,
        budget: WholeBudget,
        adapters: AdapterLayers,
        state_dict: StateDict,
        undo: Sequence[Callable[[], None]],
    ) -> None:
        self._engine = engine
        self._source = source
        self._blocks = tuple(blocks)
        self._planned = planned
        self._passage = passage
        self._in_memory = in_memory
        self._budget = budget
        self._adapters = adapters
        self._state_dict = state_dict
        self._undo = tuple(reversed(undo))
        self._is_closed = self._is_detached = False

    @property
    def is_closed(self) -> bool:
        """Whether the weights were let go."""
        return self._is_closed

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
        """Most bytes of weights and adapters on the device. May be set between steps; BudgetError if too small."""
        return self._budget.nbytes

    @budget_nbytes.setter
    def budget_nbytes(self, nbytes: int) -> None:
        """From the next step on."""
        self._budget.set(nbytes)

    @property
    def device_nbytes(self) -> int:
        """Bytes of the slab in which all streamed weights on the device lie; with adapters never above the budget."""
        return self._engine.device_nbytes

    @property
    def in_memory_nbytes(self) -> int:
        """Bytes of what the module has beside streamed weights: adapters and buffers, always on the device."""
        return self._in_memory.nbytes

    @property
    def in_memory_revision(self) -> int:
        """Another number than before, if adapters were loaded, replaced by larger ones or taken out."""
        return self._in_memory.revision

    @property
    def total_nbytes(self) -> int:
        """Bytes of all weights and adapters on the device, if all of them stay."""
        return self._budget.total_nbytes

    @property
    def smallest_nbytes(self) -> int:
        """The smallest budget that a forward can run with."""
        return self._budget.smallest_nbytes

    def set_budget(self, nbytes: int) -> None:
        """As setting `budget_nbytes`."""
        self._budget.set(nbytes)

    @property
    def ran_short(self) -> bool:
        """Whether the last forward ran out of device memory at first."""
        return self._engine.shrunk_nbytes is not None

    def take_shrunk(self) -> int | None:
        """The budget with which a forward succeeded that had run out of memory before; None: none did.

        Told once.
        """
        shrunk, self._engine.shrunk_nbytes = self._engine.shrunk_nbytes, None
        return None if shrunk is None else shrunk + self._budget.reserved_nbytes

    def suspend(self) -> None:
        """Lets go of all memory on the device until the next forward. Not while one runs."""
        self._engine.suspend()

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
        self._budget.set(parse_size(size) if isinstance(size, str) else size)

    def detach(self) -> None:
        """The module is an ordinary one again, with all its weights in memory, and its adapters. Not while it runs.

        If they can't be read or don't fit, nothing has changed. Afterwards this is closed; further calls do nothing.

        Raises:
            EngineClosedError: `close` was called before: the file isn't open any more.
        """
        if self._is_detached:
            return
        if self.is_closed:
            raise EngineClosedError(
                "The weights of this module were let go, and their file was closed.",
                "Call detach() instead of close(), or attach() the module again.",
            )
        filled = [(place, _read(self._source, place)) for block in self._blocks for place in block.places]
        self._is_closed = self._is_detached = True
        close_all(self._engine.close, self.leave, functools.partial(_fill, filled), self._source.close, give_back)

    def leave(self) -> None:
        """The module runs without hooks again, with whatever its parameters hold. Once this is closed."""
        close_all(*self._undo)

    def release(self, part: nn.Module) -> None:
        """This part's parameters are ordinary ones from now on, in memory with their values; the rest streams on.

        For what a program reads or changes itself. Without effect if nothing within streams. If the values can't be
        read, nothing has changed. Not while the module runs.

        Args:
            part: a module of the tree.

        Raises:
            EngineClosedError: the values were let go.
        """
        owners = set(part.modules())
        kept = [
            replace(block, places=tuple(place for place in block.places if place.owner not in owners))
            for block in self._blocks
        ]
        gone = [place for block in self._blocks for place in block.places if place.owner in owners]
        if not gone:
            return
        filled = [(place, _read(self._source, place)) for place in gone]
        self._engine.drop({place.key for place in gone}, self._planned(kept))
        self._blocks = tuple(kept)
        _fill(filled)
        self._in_memory.add(gone)
        self._adapters.forget(gone)
        self._state_dict.forget(gone)

    def while_saving(self) -> AbstractContextManager[None]:
        """Within it, what saves a larger module that has this one in it gets all values, read one after the other."""
        return self._state_dict.while_saving()

    def share_gate(self, gate: Gate) -> None:
        """From now on forwards of this module and of others with the same gate come one after the other."""
        self._passage.gate = gate

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
        last = () if self._is_closed else (give_back,)
        self._is_closed = True
        close_all(self._adapters.close, self._in_memory.close, self._engine.close, self._source.close, *last)

    def __deepcopy__(self, memo: dict[int, object]) -> StreamHandle:
        """Itself: a module that was detached may be copied with the handle that it had."""
        return self

    def __enter__(self) -> StreamHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_planned(blocks: Sequence[ModuleBlock], dtype: torch.dtype, packed: WeightSource | None = None) -> list[Block]:
    """The blocks as the plan sees them, in the same numbering.

    Args:
        blocks: a partition of a module's parameters.
        dtype: to compute in.
        packed: gives the weights in a form that the device expands; None: it doesn't.
    """
    return [
        lay_out(
            block.name,
            [(place.key, place.shape) for place in block.places],
            dtype.itemsize,
            pinned=block.pinned,
            runway=block.runway,
            inflated=[packed.info(place.key).inflated for place in block.places] if packed is not None else (),
        )
        for block in blocks
    ]


@torch.inference_mode(False)  # what is made here is used outside of it, too, and by other threads
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

    Adapters, those that it has and those that are loaded into it later, stay in memory and count in the budget.

    Args:
        root: the module; its parameters may still be on the meta device.
        blocks: a partition of its parameters, adapters left out.
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
        EvictedWeightsError: an adapter is fused into the weights that the module has.
        SettingError: the module, or a part of it, streams already.
    """
    closes, undo = [source.close], list[Callable[[], None]]()
    try:
        _require_free(root)
        require_unmerged(root)
        packed = source if settings.decodes_on(device.type) else None
        planned = functools.partial(as_planned, dtype=dtype, packed=packed)
        undo.append((in_memory := InMemory(root, blocks)).close)
        closes.insert(0, in_memory.move(device, dtype))
        # The plan first: if the budget can't work, the module keeps its weights.
        for_weights = settings.vram_budget_nbytes - in_memory.nbytes
        try:
            plan = make_plan(planned(blocks), order, for_weights)
        except BudgetError as error:
            raise with_reserved(error, in_memory.nbytes) from None
        settings = replace(settings, vram_budget_nbytes=max(1, for_weights))
        engine = Engine(plan, source, Binder(blocks, device, dtype), settings, device, dtype)
        closes.insert(0, engine.close)
        budget = WholeBudget(engine, in_memory)
        undo.append((passage := Passage(root)).remove)
        undo.append((hooks := StreamHooks(root, blocks, engine, budget.renew, on_forward)).remove)
        undo.append((state_dict := StateDict(root, blocks, in_memory, functools.partial(_values, source))).remove)
        passage.lead_out()
        undo.append(CompiledBlocks(blocks).remove)
        undo.append(Guards(root, device, dtype, keeps_type=keeps_type, in_memory=in_memory).remove)
        undo.append((adapters := AdapterLayers(root, blocks, hooks.hook, functools.partial(_read, source))).remove)
        undo.append(lambda: root.__dict__.pop(_HANDLE, None))
        handle = StreamHandle(engine, source, blocks, planned, passage, in_memory, budget, adapters, state_dict, undo)
        root.__dict__[_HANDLE] = handle
        engine.begin()  # last: what fails before leaves the module with its weights
    except BaseException:
        close_after_failure(*reversed(undo), *closes)
        raise
    closes.clear()  # with what was in place of adapters
    # Whoever forgets to close the handle: with the module, threads and files go too.
    weakref.finalize(root, let_go, engine, source)
    if not asleep:
        try:
            engine.wake()
        except BaseException:
            close_after_failure(handle.close)
            raise
    return handle


def _require_free(root: nn.Module) -> None:
    """Nothing of the module streams; what was closed is forgotten."""
    for name, module in root.named_modules():
        earlier: StreamHandle | None = module.__dict__.get(_HANDLE)
        if earlier is None:
            continue
        if not earlier.is_closed:
            raise SettingError(
                f"{f'Its part {name}' if name else 'This module'} streams already, from {earlier.source_name}.",
                "Set the budget of the handle that it has, or detach() that first.",
            )
        earlier.leave()


def _fill(values: Sequence[tuple[ParameterPlace, torch.Tensor]]) -> None:
    for place, own in values:
        place.parameter.data = own


@torch.inference_mode(False)  # what is read may outlast it
def _read(source: WeightSource, place: ParameterPlace) -> torch.Tensor:
    """The parameter's values in memory of their own, where and as the parameter is."""
    return _values(source, place).to(place.parameter.device)


@torch.inference_mode(False)
def _values(source: WeightSource, place: ParameterPlace) -> torch.Tensor:
    """The parameter's values in host memory, in its type."""
    values = torch.empty(place.shape, dtype=place.parameter.dtype, device="cpu")
    source.read_into(place.key, values)
    return values
