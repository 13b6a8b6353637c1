"""Host to device: where a block's weights are written, and how they reach the slot while the compute goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from streamer.plan import Plan
from streamer.sources.cast import copy_cast
from streamer.tiers.arena import Arena, tensor_views
from streamer.tiers.device_clock import DeviceClock, Mark
from streamer.tiers.staging import Lease, StagingPool, nothing
from streamer.tiers.targets import InflatedTarget, Target, packed_targets
from streamer.tiers.unpack import Unpacker


class Moved(NamedTuple):
    """What sending a block took: bytes copied to the device, and bytes that the device wrote from a packed form.

    And, where a clock was given, when the device began and ended.
    """

    copied_nbytes: int = 0
    expanded_nbytes: int = 0
    on_device: tuple[Mark, Mark] | None = None


class Upload(Protocol):
    """Moves whole blocks into their slots. The calls for one block come in this order, round and round."""

    def holds(self, block: int) -> bool:
        """Whether nothing has to be written for the block: `send` alone brings it. Any worker thread."""
        ...

    def targets(self, block: int) -> tuple[Target, ...] | None:
        """Host memory to write the block's tensors into; waits for room. None once stopped. Any worker thread."""
        ...

    def send(self, block: int) -> Moved:
        """Every target is written: the block goes to its slot. A worker thread."""
        ...

    def before_use(self, block: int) -> None:
        """What the calling thread computes after this sees the block's weights."""
        ...

    def after_use(self, block: int) -> None:
        """What the calling thread computes after this doesn't read the block's weights any more."""
        ...

    def drain(self) -> None:
        """Returns when no copy is on its way any more. Waits for the device: not in steady state."""
        ...


class DirectUpload:
    """The device is the host: weights are decoded straight into their slots, and there is nothing to send."""

    def __init__(self, views: tuple[tuple[torch.Tensor, ...], ...]) -> None:
        self._views = views

    def holds(self, block: int) -> bool:
        """Never: the slot is written each time."""
        return False

    def targets(self, block: int) -> tuple[Target, ...] | None:
        """The slot itself."""
        return self._views[block]

    def send(self, block: int) -> Moved:
        """Nothing to do."""
        return Moved()

    def before_use(self, block: int) -> None:
        """Nothing to do."""

    def after_use(self, block: int) -> None:
        """Nothing to do."""

    def drain(self) -> None:
        """Nothing to do."""


class StagedUpload:
    """Blocks are written into staging buffers, dense or packed, and copied to the device by a stream of their own.

    What is dense is copied to its slot. What is packed is copied beside, and expanded into its slot by the same stream:
    the landing area and the scratch memory need no events of their own, since only that stream uses them.

    The streams order themselves by events; no call waits for the device, but for a worker thread that leases a buffer
    which the copy engine still reads. On a device without streams all is done at once, by the worker.

    Args:
        plan: of the blocks.
        arena: with the slots.
        dtype: of the weights.
        device: of the arena.
        pool: of staging buffers, each as large as the largest block in the form in which it moves.
        stopped: whether waiting is in vain.

    Attributes:
        clock: times what the device does; None: nobody wants to know. May be set.
    """

    def __init__(
        self,
        plan: Plan,
        arena: Arena,
        dtype: torch.dtype,
        device: torch.device,
        pool: StagingPool,
        stopped: Callable[[], bool],
    ) -> None:
        self.clock: DeviceClock | None = None
        self._plan = plan
        self._arena = arena
        self._dtype = dtype
        self._pool = pool
        self._stopped = stopped
        self._leased: dict[int, tuple[Lease, tuple[Target, ...]]] = {}
        self._given_back = threading.Condition()
        self._in_turn = threading.Lock()  # without streams: one block after the other uses the landing area
        self._unpacker = Unpacker(plan, arena, dtype) if plan.packed else None
        self._streams = _Streams(device, len(plan.blocks)) if device.type == "cuda" else None

    def holds(self, block: int) -> bool:
        """Whether the block's packed form stays on the device and is there."""
        return self._unpacker is not None and self._unpacker.holds(block)

    def targets(self, block: int) -> tuple[Target, ...] | None:
        """Parts of a staging buffer, the same for every call until `send`."""
        with self._given_back:
            while (leased := self._leased.get(block) or self._lease(block)) is None:
                if self._stopped():
                    return None
                self._given_back.wait(0.1)
            self._leased[block] = leased
        lease, targets = leased
        lease.ready()
        return targets

    def send(self, block: int) -> Moved:
        """Enqueues the copy and what expands it, and gives the buffer back."""
        with self._given_back:
            lease, targets = self._leased.pop(block, (None, ()))
        move = self._move(block, None if lease is None else lease.memory, targets)
        if self._streams is None:
            with self._in_turn:
                move.copy()
                move.expand()
            copy_ended, times = nothing, None
        else:
            overlapping = (block, *self._plan.overlapping[block])
            copy_ended, times = self._streams.carry_out(block, overlapping, move, self.clock)
        if lease is not None:
            with self._given_back:
                self._pool.give_back(lease, copy_ended)
                self._given_back.notify_all()
        return move.moved._replace(on_device=times)

    def _lease(self, block: int) -> tuple[Lease, tuple[Target, ...]] | None:
        lease = self._pool.lease()
        if lease is None:
            return None
        if block in self._plan.packed:
            return lease, packed_targets(lease.memory, self._plan, block, self._dtype)
        return lease, tensor_views(lease.memory, self._plan, block, self._dtype)

    def _move(self, block: int, buffer: torch.Tensor | None, targets: tuple[Target, ...]) -> _Move:
        nbytes = 0 if buffer is None else self._plan.upload_nbytes(block)
        unpacker = self._unpacker if block in self._plan.packed else None
        arrival = self._arena.slot(self._plan, block) if unpacker is None else unpacker.arrival(block)

        def copy() -> None:
            if buffer is None:
                return
            if arrival.device.type == "cpu" and self._streams is None:
                copy_cast(arrival, buffer[:nbytes])
            else:
                arrival.copy_(buffer[:nbytes], non_blocking=self._streams is not None)

        def expand() -> None:
            if unpacker is not None:
                unpacker.unpack(block, [t.sizes if isinstance(t, InflatedTarget) else None for t in targets])

        expanded = 0 if unpacker is None else sum(place.nbytes for place in self._plan.blocks[block].tensors)
        return _Move(copy, expand, unpacker is None, Moved(nbytes, expanded))

    def before_use(self, block: int) -> None:
        """Makes the compute stream wait for the copy."""
        if self._streams is not None:
            self._streams.before_use(block)

    def after_use(self, block: int) -> None:
        """Marks the point of the compute stream from which the slot may be overwritten."""
        if self._streams is not None:
            self._streams.after_use(block)

    def drain(self) -> None:
        """Waits for the copies, and for the compute that reads the slots."""
        if self._streams is not None:
            self._streams.drain()


class _Move(NamedTuple):
    """One block on its way: the copy, to its slot or to where it is expanded from."""

    copy: Callable[[], None]
    expand: Callable[[], None]
    copies_to_slot: bool
    moved: Moved


class _Streams:
    """The copy stream and two events for each block: its weights have arrived; its compute has read them."""

    def __init__(self, device: torch.device, blocks: int) -> None:
        self._device = device
        self._copy_stream = torch.cuda.Stream(device)
        self._arrived = [torch.cuda.Event() for _ in range(blocks)]
        self._read = [torch.cuda.Event() for _ in range(blocks)]
        self._lock = threading.Lock()
        # The slab may have been used by earlier work on the stream it was allocated on.
        self._copy_stream.wait_stream(torch.cuda.current_stream(device))

    def carry_out(
        self, block: int, previous: tuple[int, ...], move: _Move, clock: DeviceClock | None
    ) -> tuple[Callable[[], None], tuple[Mark, Mark] | None]:
        """Enqueues the move; returns what waits for the end of its copy, and when the move began and ended."""
        ended = torch.cuda.Event(blocking=True)  # else who waits takes a processor that could decode
        with self._lock, torch.cuda.device(self._device), torch.cuda.stream(self._copy_stream):
            if move.copies_to_slot:
                self._wait_for_compute(previous)
            began = None if clock is None else clock.mark(self._copy_stream)
            move.copy()
            ended.record(self._copy_stream)
            if not move.copies_to_slot:
                self._wait_for_compute(previous)
            move.expand()
            self._arrived[block].record(self._copy_stream)
            if clock is None or began is None:
                return ended.synchronize, None
            return ended.synchronize, (began, clock.mark(self._copy_stream))

    def _wait_for_compute(self, previous: tuple[int, ...]) -> None:
        for other in previous:
            self._copy_stream.wait_event(self._read[other])
            # A block that arrived but was never used has no read event; its copy is earlier on this same stream.

    def before_use(self, block: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._arrived[block])

    def after_use(self, block: int) -> None:
        self._read[block].record(torch.cuda.current_stream(self._device))

    def drain(self) -> None:
        # The whole device: who drains may be another thread than the one that computed, or compute on another stream.
        torch.cuda.synchronize(self._device)
