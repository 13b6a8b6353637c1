"""Host to device: where a block's weights are written, and how they reach the slot while the compute goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import torch

from streamer.plan import Plan
from streamer.sources.cast import copy_cast
from streamer.tiers.arena import Arena, tensor_views
from streamer.tiers.staging import Lease, StagingPool, nothing


class Upload(Protocol):
    """Moves whole blocks into their slots. The four calls for one block come in this order, round and round."""

    def targets(self, block: int) -> tuple[torch.Tensor, ...] | None:
        """Host tensors to write the block's weights into; waits for room. None once stopped. Any worker thread."""
        ...

    def send(self, block: int) -> int:
        """Every target is written: the block goes to its slot. Bytes that are copied. A worker thread."""
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

    def targets(self, block: int) -> tuple[torch.Tensor, ...] | None:
        """The slot itself."""
        return self._views[block]

    def send(self, block: int) -> int:
        """Nothing to do."""
        return 0

    def before_use(self, block: int) -> None:
        """Nothing to do."""

    def after_use(self, block: int) -> None:
        """Nothing to do."""

    def drain(self) -> None:
        """Nothing to do."""


class StagedUpload:
    """Weights are decoded into staging buffers and copied to their slots by a stream of their own.

    The streams order themselves by events; no call waits for the device, but for a worker thread that leases a buffer
    which the copy engine still reads. On a device without streams the copy is made at once, by the worker.

    Args:
        plan: of the blocks.
        arena: with the slots.
        dtype: of the weights.
        device: of the arena.
        pool: of staging buffers, each as large as the largest block.
        stopped: whether waiting is in vain.
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
        self._plan = plan
        self._arena = arena
        self._dtype = dtype
        self._pool = pool
        self._stopped = stopped
        self._leased: dict[int, Lease] = {}
        self._given_back = threading.Condition()
        self._streams = _Streams(device, len(plan.blocks)) if device.type == "cuda" else None

    def targets(self, block: int) -> tuple[torch.Tensor, ...] | None:
        """Views of a staging buffer, the same for every call until `send`."""
        with self._given_back:
            while (lease := self._leased.get(block) or self._pool.lease()) is None:
                if self._stopped():
                    return None
                self._given_back.wait(0.1)
            self._leased[block] = lease
        lease.ready()
        return tensor_views(lease.memory, self._plan, block, self._dtype)

    def send(self, block: int) -> int:
        """Enqueues the copy behind the compute that last read the slot's bytes, and gives the buffer back."""
        with self._given_back:
            lease = self._leased.pop(block)
        slot = self._arena.slot(self._plan, block)
        source = lease.memory[: slot.numel()]
        if self._streams is None:
            if slot.device.type == "cpu":
                copy_cast(slot, source)
            else:
                slot.copy_(source)
            copy_ended = nothing
        else:
            previous = (block, *self._plan.overlapping[block])
            copy_ended = self._streams.copy(block, previous, slot, source)
        with self._given_back:
            self._pool.give_back(lease, copy_ended)
            self._given_back.notify_all()
        return slot.numel()

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

    def copy(
        self, block: int, previous: tuple[int, ...], slot: torch.Tensor, buffer: torch.Tensor
    ) -> Callable[[], None]:
        """Enqueues the copy; returns what waits for its end."""
        ended = torch.cuda.Event()
        with self._lock, torch.cuda.device(self._device), torch.cuda.stream(self._copy_stream):
            for other in previous:
                self._copy_stream.wait_event(self._read[other])
                # A block that arrived but was never used has no read event; its copy is earlier on this same stream.
            slot.copy_(buffer, non_blocking=True)
            self._arrived[block].record(self._copy_stream)
            ended.record(self._copy_stream)
        return ended.synchronize

    def before_use(self, block: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._arrived[block])

    def after_use(self, block: int) -> None:
        self._read[block].record(torch.cuda.current_stream(self._device))

    def drain(self) -> None:
        self._copy_stream.synchronize()
        torch.cuda.current_stream(self._device).synchronize()
