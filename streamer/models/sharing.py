"""A streamed module's side of a shared budget: before each forward it says what it is about to need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from streamer.models.activations import ActivationMeter
from streamer.models.twin import Structure, structure, twin_of
from streamer.runtime.attach import StreamHandle
from streamer.runtime.freed_memory import give_back
from streamer.runtime.share import SharedBudget
from streamer.tiers.device_memory import PeakMeter


class Sharing:
    """One streamed module that shares a budget. Its `on_forward` goes to whoever streams it, then `join` is called.

    Args:
        module: to be streamed.
        name: what a person calls it.
        share: the budget.
        peaks: what the device's allocator counts; None: it has none that counts.
        measured: called after a forward was measured.
        on_processor: the module computes there.

    Attributes:
        name: in the budget.
        activations: what a forward needs beside weights, by its arguments.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        share: SharedBudget,
        peaks: PeakMeter | None,
        measured: Callable[[], None],
        *,
        on_processor: bool = False,
    ) -> None:
        self.name = name
        self.activations = ActivationMeter(partial(twin_of, module), self._structure, name, on_processor=on_processor)
        self._module = module
        self._on_processor = on_processor
        self._handle: StreamHandle | None = None
        self._share = share
        self._peaks = peaks
        self._was_measured = measured
        self._entered = 0
        self._measured: dict[int, int] = {}

    def on_forward(self, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """The module is about to run with these arguments: others make room.

        Raises:
            PartBudgetError: it can't run within the budget.
        """
        calculated = self.activations(args, kwargs)
        took_turn = self._share.enter(self.name, self._needed(calculated))
        if self._on_processor and (took_turn or calculated < self._entered):
            give_back()  # the room of other results than these
        self._entered = calculated

    def join(self, handle: StreamHandle, root: nn.Module) -> None:
        """The module is streamed by this handle, asleep still, and shares the budget from now on.

        Args:
            handle: of the module.
            root: the module.
        """
        self._handle = handle
        self.name = self._share.add(self.name, handle)
        handle.share_gate(self._share.gate)
        if self._peaks is not None:
            self._measure(handle, root, self._peaks)

    def _structure(self) -> tuple[int, Structure]:
        """Also where an adapter took a smaller one's place."""
        return 0 if self._handle is None else self._handle.in_memory_revision, structure(self._module)

    def _needed(self, calculated: int) -> int:
        """Bytes of activations of a forward for which so many were calculated."""
        measured = self._measured.get(calculated)
        if measured is None:
            return calculated
        # It ran within the budget: that more was reserved then than there has to be doesn't mean that it can't again.
        return min(measured, max(calculated, self._share.nbytes - self._share.smallest(self.name, 0)))

    def _measure(self, handle: StreamHandle, root: nn.Module, peaks: PeakMeter) -> None:
        """From its second forward of a kind on, activations are what the allocator reserved in the first."""
        measuring = False

        def begin(*_: object) -> None:  # after the engine's own hook: the slab is there and doesn't count
            nonlocal measuring
            measuring = self._entered not in self._measured
            if measuring:
                peaks.begin()

        def end(*_: object) -> None:  # before the engine's own: no other forward has begun
            if not measuring or handle.ran_short:
                return  # what was counted is the memory that there was
            self._measured[self._entered] = peaks.needed_nbytes()
            self._was_measured()

        root.register_forward_pre_hook(begin)
        root.register_forward_hook(end, prepend=True)
