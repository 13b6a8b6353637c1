"""Brings each block's weights in time and lets them go: composes plan, schedule, source, arena, upload and binder.

Three parties share one lock: the compute thread (acquire, release), the workers (load), and whoever closes. Nothing
slow happens under it: files are read, decoded and sent outside.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Sequence

import torch

from streamer.config import UNLIMITED, StreamSettings
from streamer.errors import BrokenStepError, DeviceMemoryError, EngineClosedError
from streamer.plan import Block, Plan, make_plan, smallest_budget
from streamer.runtime.account import Account
from streamer.runtime.bind import Binder
from streamer.runtime.failure import LoadFailure
from streamer.runtime.host_tiers import HostTiers
from streamer.runtime.lifecycle import BlockState
from streamer.runtime.pauses import Pauses
from streamer.runtime.prefetch import PrefetchThreads
from streamer.runtime.read import read_tensor
from streamer.runtime.schedule import Claim, Schedule
from streamer.runtime.slots import DeviceSlots
from streamer.runtime.spans import SpanRecorder
from streamer.runtime.trace import OrderTrace
from streamer.sources.base import WeightSource
from streamer.sources.closing import close_all
from streamer.tiers.device_clock import Mark, clock_of
from streamer.tiers.upload import Upload


class Engine:
    """Guarantees that between `acquire` and `release` a block's parameters hold its weights, bit for bit.

    Never more weights on the device than the budget: they all lie in one slab of at most that size. `acquire`,
    `release`, `begin_step` and `end_step` are for one compute thread at a time; `close` for any thread.

    Args:
        plan: of the blocks; its order is recorded anew while the model runs.
        source: of the weights; the caller closes it, after the engine.
        binder: of the blocks' parameters.
        settings: budgets and threads.
        device: of the arena.
        dtype: of the weights on the device.
    """

    def __init__(
        self,
        plan: Plan,
        source: WeightSource,
        binder: Binder,
        settings: StreamSettings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.account = Account()
        self.shrunk_nbytes: int | None = None  # what `make_room` left of the budget, until somebody takes note of it
        self._used_since: dict[int, tuple[float, Mark | None]] = {}
        self._device = device
        self._settings = settings
        self.budget_nbytes = settings.vram_budget_nbytes  # most bytes of weights on the device
        self._binder = binder
        # Entering the lock itself can't be interrupted half way, as entering the condition could.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._in_step = False  # still set when a step begins: the one before was broken off
        self._budget_changed = False  # while a step ran
        self._next_plan: Plan | None = plan  # installed before anything else is loaded
        self._in_flight = 0
        self._pauses = Pauses(settings.load_in_pauses)
        self._failure = LoadFailure()
        self._slots = DeviceSlots(device, dtype, settings, self._stopping)
        self.host = HostTiers(source, settings, self.account.reads.note)
        # The most bytes on the device that there is a use for: with these, everything stays.
        self.total_nbytes = make_plan(plan.blocks, plan.order, UNLIMITED).arena_nbytes
        self._trace = OrderTrace(plan.order)
        self._schedule = Schedule(plan)
        self.threads = PrefetchThreads(settings.workers, self._load_next, self._fail, "streamer-prefetch")

    @property
    def plan(self) -> Plan:
        """The plan in force; while suspended, that of the next step."""
        return self._schedule.plan

    @property
    def smallest_nbytes(self) -> int:
        """The fewest bytes of weights on the device that a step can run with."""
        return smallest_budget(self.plan.blocks)

    @property
    def device_nbytes(self) -> int:
        """Bytes of the slab on the device."""
        return self._slots.nbytes

    def record(self) -> SpanRecorder:
        """From now on everything is noted with its times; a later call gives the same recorder. Not in a step."""
        if self.account.recorder is None:
            self.account.clock = clock_of(self._device)
            self._slots.time_by(self.account.clock)
            self.account.recorder = SpanRecorder()
        return self.account.recorder

    def begin(self) -> None:
        """The module's own weights are let go of: from now on they are the engine's to bring. Asleep; once.

        If this fails, the module still has them.
        """
        self.threads.start()
        self._binder.begin()

    def wake(self) -> None:
        """Loading begins before the first step, as far as that works. Not while a step runs."""
        with contextlib.suppress(Exception):  # the step tries again, and says so
            self._install_next_plan()

    # The compute thread's side

    def begin_step(self) -> None:
        """A forward of the whole module starts. After one that was broken off or a fault, all is loaded afresh.

        Raises:
            EngineClosedError: the engine was closed.
            DeviceMemoryError: the device has no room for the weights, nor for half of them.
            Exception: whatever a worker raised; the next step starts afresh.
        """
        self._require_open()
        with self._lock:
            if self._budget_changed:
                self._budget_changed = False
                self._next_plan = make_plan(self.plan.blocks, self.plan.order, self.budget_nbytes)
            # A fault of loading ahead, after the last step's end, is this step's only if it happens again.
            if (self._in_step or self._failure.happened) and self._next_plan is None:
                self._next_plan = self.plan
            self._in_step = True
        self._install_next_plan_or_half()
        self._trace.begin()
        self.account.begin_step()
        for block in self.plan.pinned:
            self.acquire(block)

    def end_step(self) -> None:
        """The forward ended. If it ran in another order than planned, the next follows the new one.

        Raises:
            EngineClosedError: the engine was closed meanwhile: what was computed isn't the model's result.
        """
        self._require_open()
        for block in self.plan.pinned:
            self.release(block)
        self.account.stats.end_step()
        order = self._trace.finish()
        if order is not None:
            self._next_plan = make_plan(self.plan.blocks, order, self.budget_nbytes)
            self._install_next_plan()
            self.account.stats.replanned()
        else:
            self._pauses.know(in_memory=self.host.in_memory)
        self._in_step = False

    def acquire(self, block: int) -> None:
        """Returns when the block's parameters hold its weights; what is computed then reads them.

        Raises:
            EngineClosedError: the engine was closed.
            BrokenStepError: its weights were let go of, or couldn't be loaded before in this step.
            Exception: whatever a worker raised, with its traceback; the next step starts afresh.
        """
        started = time.perf_counter()
        with self._lock:
            self._require_open()
            expected = self._schedule.expect(block)
            if not self.plan.blocks[block].pinned:
                self._trace.note(block)
            if not expected or len(self.plan.resident) < len(self.plan.blocks):
                self._changed.notify_all()  # where everything stays, a turn gives nobody work
        while (there := self._taken(block)) is None:
            if not self._settings.workers:
                self._load_inline(block)
        upload, views = there
        upload.before_use(block)
        self._binder.bind(block, views)
        now = time.perf_counter()
        self._used_since[block] = now, self.account.mark()
        if not expected:
            self.account.stats.surprised()
        self.account.waited(self.plan.blocks[block].name, started, now)

    def release(self, block: int) -> None:
        """What is computed from now on doesn't read the block's weights. Without effect on a block not in use.

        Raises:
            EngineClosedError: the engine was closed while the block ran: it may have computed with placeholders.
        """
        with self._lock:
            self._require_open()
            upload = self._slots.upload
            if upload is None or self._schedule.states[block] is not BlockState.ACTIVE:
                return
        upload.after_use(block)
        since, began = self._used_since.pop(block, (0.0, None))
        # What always stays is in use from the step's start to its end: counting that would count all twice.
        if since and not self.plan.blocks[block].pinned:
            self.account.computed(self.plan.blocks[block].name, since, time.perf_counter(), began)
        if block not in self.plan.resident:
            self._binder.unbind(block)
        with self._lock:
            if self._schedule.release(block):
                self._changed.notify_all()

    def _taken(self, block: int) -> tuple[Upload, tuple[torch.Tensor, ...]] | None:
        """What the block is used with, if it is there; else None, with workers after a while."""
        with self._lock:
            self._require_open()
            if self._failure.happened:
                raise self._failure.told()
            if self._slots.upload is not None and self._schedule.take(block):
                self._pauses.end(block)
                return self._slots.upload, self._slots.views[block]
            if self._next_plan is not None:
                raise BrokenStepError("The weights of this module aren't on the device, and no forward of it runs.")
            if self._settings.workers:
                if self._pauses.begin(block):
                    self._changed.notify_all()
                self.threads.require_here()
                self._changed.wait(0.1)  # not for ever: on Windows only then Ctrl-C is seen
            return None

    def _load_inline(self, block: int) -> None:
        with self._lock:
            claim = self._claim()
        if claim is not None:
            self._load(claim)
        elif self._schedule.states[block] is not BlockState.READY:  # nobody else loads
            raise BrokenStepError("Weights couldn't be loaded earlier in this forward.")

    def set_budget(self, nbytes: int, *, now: bool = False) -> None:
        """From the next step on no more weights than this are on the device. Any thread.

        Raises:
            BudgetError: it can't hold the largest block; the budget stays what it was.
        """
        self._replan(self.plan.blocks, nbytes, now=now)

    def drop(self, keys: Collection[str], blocks: Sequence[Block]) -> None:
        """From now on these tensors are neither loaded nor bound: blocks are given without. Not while a step runs."""
        self._require_open()
        self.suspend()
        self._binder.drop(keys)
        self.total_nbytes = make_plan(blocks, self.plan.order, UNLIMITED).arena_nbytes
        self._replan(blocks, self.budget_nbytes, now=True)

    def _replan(self, blocks: Sequence[Block], nbytes: int, *, now: bool) -> None:
        with self._lock:
            plan = make_plan(blocks, self.plan.order, nbytes)
            self.budget_nbytes = nbytes
            if self._in_step and not now:  # or it was broken off: the next step sees to it as well
                self._budget_changed = True
                return
            self._next_plan = plan
            if not self._slots.nbytes:
                self._schedule = Schedule(plan)

    def suspend(self) -> None:
        """Lets go of all memory on the device, until the next step begins. Not while a step runs."""
        with self._lock:
            if self._closed or not self._slots.nbytes:
                return
            if self._next_plan is None:
                self._next_plan = self.plan  # from now on nothing more is loaded
            self._let_loads_end()
            self._binder.unbind_all()
            self._slots.let_go()

    def make_room(self) -> int | None:
        """Halves the weights on the device and begins the step anew, after the device's memory ran out in it.

        Returns the new budget, or None if there are already as few as can be.
        """
        if not self._halve():
            return None
        self.begin_step()
        return self.budget_nbytes

    def close(self) -> None:
        """Stops and joins the workers, and lets go of all memory. Any thread; further calls do nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        close_all(self.threads.join, self._binder.unbind_all, self._slots.let_go, self.host.close, self._failure.clear)

    # The workers' side

    def _load_next(self) -> bool:
        with self._lock:
            while self._pauses.are_over or (claim := self._claim()) is None:
                if self._closed:
                    return False
                self._changed.wait()
        self._load(claim)
        return True

    def _claim(self) -> Claim | None:
        if self._closed or self._next_plan is not None or self._failure.happened:
            return None
        claim = self._schedule.claim()
        if claim is not None:
            self._in_flight += 1
        return claim

    def _load(self, claim: Claim) -> None:
        try:
            upload = self._slots.upload
            if upload is None or not (
                upload.holds(claim.block) or read_tensor(claim, self.plan, upload, self.host.source, self.account)
            ):
                return
            with self._lock:
                complete = self._schedule.is_last(claim)
            if complete:
                started = time.perf_counter()
                moved = upload.send(claim.block)
                if moved.copied_nbytes or moved.expanded_nbytes:
                    self.account.sent(self.plan.blocks[claim.block].name, started, time.perf_counter(), *moved)
                with self._lock:
                    self._schedule.arrived(claim.block)
                    self._pauses.end(claim.block)
        finally:
            with self._lock:
                self._in_flight -= 1
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure.note(error)
            self._changed.notify_all()

    # What happens seldom

    def _install_next_plan_or_half(self) -> None:
        """Where there is no room for the plan that waits, one for half its weights."""
        if self._install_next_plan():
            return
        tried = self.budget_nbytes if self._halve() else None
        if tried is None or not self._install_next_plan():
            raise DeviceMemoryError(tried, f"no room for {self.plan.arena_nbytes:,} bytes of weights")

    def _install_next_plan(self) -> bool:
        """Makes the plan that waits, if any, the one in force; False if the device has no room: it waits on."""
        with self._lock:
            if self._next_plan is None:
                return True
            self._let_loads_end()
            self._binder.unbind_all()
            self._failure.clear()  # before memory is asked for: it may keep some
            try:
                self._install(self._next_plan)
            except torch.OutOfMemoryError:
                return False
            self._next_plan = None
            self._changed.notify_all()
            return True

    def _halve(self) -> bool:
        """The next plan is for half the weights; False if there are as few as can be."""
        if self.plan.arena_nbytes <= self.smallest_nbytes:
            return False
        fewer = min(self.budget_nbytes, self.plan.arena_nbytes // 2)  # a smaller budget may wait for the next step
        self.set_budget(max(self.smallest_nbytes, fewer), now=True)
        self.shrunk_nbytes = self.budget_nbytes
        return True

    def _install(self, plan: Plan) -> None:
        """Makes this the plan in force; everything is loaded again. Nothing may be loading or in use."""
        self._schedule = Schedule(plan)
        self._pauses.know(in_memory=False)  # not before a step was made with it
        self.host.install(plan)
        self._slots.install(plan)

    def _let_loads_end(self) -> None:
        """Returns when nothing is being loaded; a plan that waits, or the end, keeps more from being begun."""
        while self._in_flight and self._settings.workers:
            self.threads.require_here()
            self._changed.wait(0.1)
        self._in_flight = 0

    def _stopping(self) -> bool:
        return self._closed or self._failure.happened

    def _require_open(self) -> None:
        if self._closed:
            raise EngineClosedError("The weights of this module were let go; it can't run any more.")
