"""What a plan has on the device: the slab, the views of its slots, and the way there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from streamer.config import StreamSettings
from streamer.plan import Plan
from streamer.tiers.arena import Arena
from streamer.tiers.device_clock import DeviceClock
from streamer.tiers.staging import StagingPool
from streamer.tiers.upload import DirectUpload, StagedUpload, Upload

_STAGING_BUFFERS = 2  # one is written while the other is copied


class DeviceSlots:
    """At most one slab at a time, never larger than the budget of the plan it was made for. Not thread-safe.

    Args:
        device: of the slab.
        dtype: of the weights there.
        settings: whether blocks are staged.
        stopping: whether waiting for a staging buffer is in vain.
    """

    def __init__(
        self, device: torch.device, dtype: torch.dtype, settings: StreamSettings, stopping: Callable[[], bool]
    ) -> None:
        self._device = device
        self._dtype = dtype
        self._settings = settings
        self._stopping = stopping
        self._arena: Arena | None = None
        self._clock: DeviceClock | None = None
        self.upload: Upload | None = None
        self.views: tuple[tuple[torch.Tensor, ...], ...] = ()

    @property
    def nbytes(self) -> int:
        """Of the slab; 0 while there is none."""
        return self._arena.nbytes if self._arena is not None else 0

    def time_by(self, clock: DeviceClock | None) -> None:
        """From now on what is sent is timed by this clock."""
        self._clock = clock
        if isinstance(self.upload, StagedUpload):
            self.upload.clock = clock

    @torch.inference_mode(False)  # whose tensors other threads, which aren't in it, couldn't write to
    def install(self, plan: Plan) -> None:
        """The slots are this plan's, with nothing in them. Nothing may be loading or in use."""
        # What was there goes first: old and new together would break the budget.
        self._let_go_of_upload()
        if self._arena is not None and not plan.arena_nbytes <= self._arena.nbytes <= plan.budget_nbytes:
            self.let_go()
        if self._arena is None:
            self._arena = Arena(plan.arena_nbytes, self._device)
        arena = self._arena
        self.views = tuple(arena.views(plan, i, self._dtype) for i in range(len(plan.blocks)))
        self.upload = self._make_upload(plan, arena)

    def let_go(self) -> None:
        """No device memory is held. Waits for copies that are on their way."""
        self._let_go_of_upload()
        if self._arena is not None:
            self._arena.close()
            self._arena = None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()  # else the allocator keeps it, and the next slab comes on top

    def _let_go_of_upload(self) -> None:
        if self.upload is not None:
            self.upload.drain()
        self.upload = None
        self.views = ()

    def _make_upload(self, plan: Plan, arena: Arena) -> Upload:
        if not self._settings.stages_for(self._device.type):
            return DirectUpload(self.views)
        largest = max(plan.upload_nbytes(i) for i in range(len(plan.blocks)))
        pool = StagingPool(_STAGING_BUFFERS, largest, pinned=self._device.type == "cuda")
        upload = StagedUpload(plan, arena, self._dtype, self._device, pool, self._stopping)
        upload.clock = self._clock
        return upload
