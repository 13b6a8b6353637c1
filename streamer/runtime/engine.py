"""Brings each block's weights in time and lets them go: composes plan, schedule, source, arena, upload and binder.

Three parties share one lock: the compute thread (acquire, release), the workers (load), and whoever closes. Nothing
slow happens under it: files are read, decoded and sent outside.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import torch

from streamer.config import StreamSettings
from streamer.errors import EngineClosedError
from streamer.plan import Block, Plan, make_plan
from streamer.plan.residency import keep_order
from streamer.runtime.bind import Binder
from streamer.runtime.lifecycle import BlockState
from streamer.runtime.prefetch import PrefetchThreads
from streamer.runtime.schedule import Claim, Schedule
from streamer.runtime.stats import StreamStats
from streamer.runtime.trace import OrderTrace
from streamer.sources.base import WeightSource
from streamer.tiers.arena import Arena
from streamer.tiers.host_cache import HostCache, choose
from streamer.tiers.staging import StagingPool
from streamer.tiers.upload import DirectUpload, StagedUpload, Upload

_STAGING_BUFFERS = 2  # one is written while the other is copied


class Engine:
    """Guarantees that between `acquire` and `release` a block's parameters hold its weights, bit for bit.

    Never more weights on the device than the budget: they all lie in one slab of at most that size. `acquire`,
    `release`, `begin_step` and `end_step` are for one compute thread at a time; `close` for any thread.

    Args:
        blocks: with the places of their tensors.
        order: the turns of one step, as far as known; recorded anew while the model runs.
        source: of the weights; the caller closes it, after the engine.
        binder: of the blocks' parameters.
        settings: budgets and threads.
        device: of the arena.
        dtype: of the weights on the device.

    Raises:
        BudgetError: the budget can't hold the largest block.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        order: Sequence[int],
        source: WeightSource,
        binder: Binder,
        settings: StreamSettings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.stats = StreamStats()
        self._settings = settings
        self._device = device
        self._dtype = dtype
        self._binder = binder
        self._changed = threading.Condition()
        self._closed = False
        self._paused = False
        self._in_flight = 0
        self._failure: BaseException | None = None
        self._arena: Arena | None = None
        self._upload: Upload
        self._views: tuple[tuple[torch.Tensor, ...], ...] = ()
        plan = make_plan(blocks, order, settings.vram_budget_nbytes)
        self._cache = self._make_cache(source, plan)
        self._source: WeightSource = self._cache
        self._trace = OrderTrace(plan.order)
        self._install(plan)
        self._threads = PrefetchThreads(settings.workers, self._load_next, self._fail, "streamer-prefetch")

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._schedule.plan

    @property
    def held_nbytes(self) -> int:
        """Bytes of weights kept in host memory now."""
        return self._cache.held_nbytes

    @property
    def arena_nbytes(self) -> int:
        """Bytes of the slab on the device."""
        return self._arena.nbytes if self._arena is not None else 0

    # The compute thread's side

    def begin_step(self) -> None:
        """A forward of the whole module starts. What an interrupted one left in use is let go."""
        self._require_open()
        for block in self._schedule.states.which(BlockState.ACTIVE):
            self.release(block)
        self._trace.begin()
        self.stats.begin_step()
        for block in self._pinned():
            self.acquire(block)

    def end_step(self) -> None:
        """The forward ended. If it ran in another order than planned, the next follows the new one."""
        for block in self._pinned():
            self.release(block)
        self.stats.end_step()
        order = self._trace.finish()
        if order is not None and not self._closed:
            self._replan(order)

    def acquire(self, block: int) -> None:
        """Returns when the block's parameters hold its weights; what is computed then reads them.

        Raises:
            EngineClosedError: the engine was closed.
            Exception: whatever a worker raised, with its traceback; the next call starts afresh.
        """
        started = time.perf_counter()
        with self._changed:
            self._require_open()
            expected = self._schedule.expect(block)
            if not self.plan.blocks[block].pinned:
                self._trace.note(block)
            self._changed.notify_all()
            while not self._schedule.take(block):
                self._raise_failure()
                self._require_open()
                if self._settings.workers:
                    self._changed.wait(0.1)  # not for ever: on Windows only then Ctrl-C is seen
                    continue
                claim = self._claim()
                if claim is None:
                    raise RuntimeError(f"block {self.plan.blocks[block].name} can't be loaded")
                self._changed.release()
                try:
                    self._load(claim)
                except BaseException as error:  # noqa: BLE001 - raised above, when everything is in order again
                    self._fail(error)
                finally:
                    self._changed.acquire()
        self._upload.before_use(block)
        self._binder.bind(block, self._views[block])
        seconds = time.perf_counter() - started
        self.stats.waited(self.plan.blocks[block].name, seconds, surprised=not expected)

    def release(self, block: int) -> None:
        """What is computed from now on doesn't read the block's weights. Without effect on a block not in use."""
        if self._closed or self._schedule.states[block] is not BlockState.ACTIVE:
            return
        self._upload.after_use(block)
        if block not in self.plan.resident:
            self._binder.unbind(block)
        with self._changed:
            self._schedule.release(block)
            self._changed.notify_all()

    def close(self) -> None:
        """Stops and joins the workers, and lets go of all memory. Any thread; further calls do nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._threads.join()
        self._upload.drain()
        self._binder.unbind_all()
        self._views = ()
        del self._upload
        self._cache.close()
        if self._arena is not None:
            self._arena.close()

    # The workers' side

    def _load_next(self) -> bool:
        with self._changed:
            while (claim := self._claim()) is None:
                if self._closed:
                    return False
                self._changed.wait()
        self._load(claim)
        return True

    def _claim(self) -> Claim | None:
        if self._closed or self._paused or self._failure is not None:
            return None
        claim = self._schedule.claim()
        if claim is not None:
            self._in_flight += 1
        return claim

    def _load(self, claim: Claim) -> None:
        try:
            started = time.perf_counter()
            place = self.plan.blocks[claim.block].tensors[claim.tensor]
            targets = self._upload.targets(claim.block)
            if targets is None:
                return
            self._source.read_into(place.key, targets[claim.tensor])
            with self._changed:
                complete = self._schedule.is_last(claim)
            if complete:
                self._upload.send(claim.block)
            self.stats.loaded(place.nbytes, time.perf_counter() - started)
            if complete:
                with self._changed:
                    self._schedule.arrived(claim.block)
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()

    # What happens seldom

    def _raise_failure(self) -> None:
        """Raises what a worker raised, once nothing is on its way any more, and starts afresh. Called locked."""
        if self._failure is None:
            return
        self._wait_for_loads()
        error, self._failure = self._failure, None
        if not self._closed:
            self._binder.unbind_all()
            self._install(self.plan)
        raise error

    def _replan(self, order: Sequence[int]) -> None:
        with self._changed:
            self._paused = True
            self._wait_for_loads()
            self._binder.unbind_all()
            self._install(make_plan(self.plan.blocks, order, self._settings.vram_budget_nbytes))
            self._paused = False
            self._changed.notify_all()
        self.stats.replanned()

    def _wait_for_loads(self) -> None:
        while self._in_flight:
            self._changed.wait(0.1)

    def _install(self, plan: Plan) -> None:
        """Makes this the plan in force; everything is loaded again. Nothing may be loading or in use."""
        if self._arena is not None:
            # What is made anew goes first: old and new together would break the budget.
            self._upload.drain()
            del self._upload
            self._views = ()
            if self._arena.nbytes < plan.arena_nbytes:
                self._arena.close()
                self._arena = None
        if self._arena is None:
            self._arena = Arena(plan.arena_nbytes, self._device)
        arena = self._arena
        self._schedule = Schedule(plan)
        self._views = tuple(arena.views(plan, i, self._dtype) for i in range(len(plan.blocks)))
        self._upload = self._make_upload(plan, arena)

    def _make_upload(self, plan: Plan, arena: Arena) -> Upload:
        staged = self._settings.staged
        if not (self._device.type != "cpu" if staged is None else staged):
            return DirectUpload(self._views)
        largest = max(block.nbytes for block in plan.blocks)
        pool = StagingPool(_STAGING_BUFFERS, largest, pinned=self._device.type == "cuda")
        return StagedUpload(plan, arena, self._dtype, self._device, pool, self._stopping)

    def _stopping(self) -> bool:
        return self._closed or self._failure is not None

    def _make_cache(self, source: WeightSource, plan: Plan) -> HostCache:
        ordered = [i for i in keep_order(plan.blocks, plan.order) if i not in plan.resident]
        groups = [[place.key for place in plan.blocks[i].tensors] for i in ordered]
        budget = self._settings.ram_budget_nbytes
        kept = choose(source, groups, budget, only_smaller=self._settings.hold_only_smaller)
        return HostCache(source, kept, budget)

    def _pinned(self) -> tuple[int, ...]:
        return tuple(i for i, block in enumerate(self.plan.blocks) if block.pinned)

    def _require_open(self) -> None:
        if self._closed:
            raise EngineClosedError("The weights of this module were let go; it can't run any more.")
