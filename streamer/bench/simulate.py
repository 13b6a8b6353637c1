"""The streaming engine with a clock instead of a device: the real plan, the real schedule, and work as seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streamer.bench.virtual_clock import OnCores, Paused, Process, Until, VirtualClock
from streamer.plan import Plan
from streamer.runtime.lifecycle import BlockState
from streamer.runtime.pauses import Pauses
from streamer.runtime.schedule import Claim, Schedule

_STAGING_BUFFERS = 2  # as the engine's


@dataclass(frozen=True)
class Machine:
    """What does the work.

    Attributes:
        cores: processors, which decoding and a CPU's computing share.
        compute_threads: that compute on them; 0: a device with processors of its own does, and the thread that
            launches its work runs ahead of it.
        workers: threads that read and decode ahead; 0: each block is loaded when its turn comes.
        link: bytes a second from staging buffers to the device; None: weights are decoded straight into their slots.
        disk: bytes a second of all reads together; None: reading costs no more than what decoding is said to cost.
        load_in_pauses: workers rest while a block computes, once nothing comes from the disk in later steps.
    """

    cores: int
    compute_threads: int
    workers: int
    link: float | None = None
    disk: float | None = None
    load_in_pauses: bool = False


@dataclass(frozen=True)
class LoadCost:
    """What bringing one tensor costs.

    Attributes:
        decode_seconds: of one processor.
        disk_nbytes: that the disk has to give for it.
    """

    decode_seconds: float
    disk_nbytes: int = 0


@dataclass(frozen=True)
class Costs:
    """Everything that takes time.

    Attributes:
        turn_seconds: of computing each turn, undisturbed.
        gap_seconds: of computing what is in no block, just before each turn.
        first_loads: of each block's tensors, the first time that the block is loaded.
        later_loads: of each block's tensors, every other time.
    """

    turn_seconds: tuple[float, ...]
    gap_seconds: tuple[float, ...]
    first_loads: tuple[tuple[LoadCost, ...], ...]
    later_loads: tuple[tuple[LoadCost, ...], ...]

    @property
    def compute_seconds(self) -> float:
        """Of one step with everything there."""
        return sum(self.turn_seconds) + sum(self.gap_seconds)


@dataclass(frozen=True)
class Turn:
    """One turn of a block on the device. Times are seconds from the start of the first step.

    Attributes:
        step: from 0.
        block: by number.
        wanted: when it could have begun.
        start: when its weights were there and it began.
        end: of its computing.
    """

    step: int
    block: int
    wanted: float
    start: float
    end: float


@dataclass
class Stay:
    """A block in its slot. Times as of `Turn`.

    Attributes:
        block: by number.
        since: its first byte may be written.
        ready: it is complete; None: not yet.
        until: nothing reads it any more; None: it is still there.
    """

    block: int
    since: float
    ready: float | None = None
    until: float | None = None


@dataclass
class Run:
    """What happened: every turn and every stay in a slot, by their beginning, and the time of each step's end."""

    turns: list[Turn] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    step_ends: list[float] = field(default_factory=list)


def simulate(plan: Plan, costs: Costs, machine: Machine, steps: int) -> Run:
    """Carries the plan out for so many steps, from an empty device, in virtual time.

    Args:
        plan: of the blocks.
        costs: of each turn of the plan's order and each tensor of its blocks.
        machine: that does the work.
        steps: forwards of the model.
    """
    simulation = _Simulation(plan, costs, machine)
    simulation.clock.run(simulation.compute(steps), [simulation.work_ahead() for _ in range(machine.workers)])
    return simulation.run


class _Simulation:
    """One run of the engine; each method that is a `Process` mirrors a thread of it."""

    def __init__(self, plan: Plan, costs: Costs, machine: Machine) -> None:
        self.clock = VirtualClock(machine.cores)
        self.run = Run()
        self._plan = plan
        self._costs = costs
        self._machine = machine
        self._schedule = Schedule(plan)
        self._stays: dict[int, Stay] = {}  # of the blocks that are there
        self._left: dict[int, float] = {}  # when each block was last read in its slot
        self._loaded: set[int] = set()  # blocks that were loaded once
        self._requested: dict[tuple[int, int], float] = {}  # tensors on their way from the disk, and when they are here
        self._disk_free = 0.0
        self._link_free = 0.0
        self._device_free = 0.0
        self._buffers = deque([0.0] * _STAGING_BUFFERS)  # when each may be written again, those free longest first
        self._leased: dict[int, float] = {}
        self._pauses = Pauses(machine.load_in_pauses)
        self._in_memory = machine.disk is None or not any(
            load.disk_nbytes for block in plan.streamed for load in costs.later_loads[block]
        )

    def compute(self, steps: int) -> Process:
        """The compute thread."""
        pinned = [i for i, block in enumerate(self._plan.blocks) if block.pinned]
        for step in range(steps):
            for block in pinned:
                yield from self._acquire(block)
            for turn, block in enumerate(self._plan.order):
                seconds, gap = self._costs.turn_seconds[turn], self._costs.gap_seconds[turn]
                if self._machine.compute_threads:
                    yield from self._on_the_host(step, block, gap, seconds)
                else:
                    yield from self._on_a_device(step, block, gap, seconds)
            for block in pinned:
                self._schedule.release(block)
            self._pauses.know(in_memory=self._in_memory)
            self.run.step_ends.append(max(self.clock.now, self._device_free))

    def work_ahead(self) -> Process:
        """A worker thread."""
        while True:
            claim = None if self._pauses.are_over else self._schedule.claim()
            if claim is None:
                yield Paused()
            else:
                yield from self._load(claim)

    def _on_the_host(self, step: int, block: int, gap: float, seconds: float) -> Process:
        """The calling thread and its helpers compute, and are slowed by those that decode."""
        yield OnCores(self._machine.compute_threads, gap)
        wanted = self.clock.now
        yield from self._acquire(block)
        start = self.clock.now
        yield OnCores(self._machine.compute_threads, seconds)
        self.run.turns.append(Turn(step, block, wanted, start, self.clock.now))
        self._release(block, self.clock.now)

    def _on_a_device(self, step: int, block: int, gap: float, seconds: float) -> Process:
        """The calling thread only launches, ahead of the device, as soon as the copy of the weights was ordered."""
        yield from self._acquire(block)
        ready = self._stays[block].ready
        assert ready is not None
        wanted = self._device_free + gap
        start = max(wanted, ready)
        self._device_free = start + seconds
        self.run.turns.append(Turn(step, block, wanted, start, self._device_free))
        self._release(block, self._device_free)

    def _acquire(self, block: int) -> Process:
        self._schedule.expect(block)
        while not self._schedule.take(block):
            self._pauses.begin(block)
            claim = None if self._machine.workers else self._schedule.claim()
            if claim is None:
                yield Paused()
            else:
                yield from self._load(claim)
        self._pauses.end(block)
        if block not in self._stays:  # nothing to load: it has no tensors
            self._arriving(block, self.clock.now)
            self._stays[block].ready = self.clock.now

    def _release(self, block: int, time: float) -> None:
        if self._schedule.release(block):
            self._stays.pop(block).until = self._left[block] = time

    def _load(self, claim: Claim) -> Process:
        if claim.tensor == 0:
            self._read_ahead(claim.block)
            if self._machine.link is None:
                self._arriving(claim.block, self.clock.now)
        if self._machine.link is not None:
            while claim.block not in self._leased and not self._buffers:
                yield Paused()
            if claim.block not in self._leased:
                self._leased[claim.block] = self._buffers.popleft()
            yield Until(self._leased[claim.block])
        self._request(claim.block, claim.tensor)
        yield Until(self._requested.pop((claim.block, claim.tensor)))
        yield OnCores(1, self._cost(claim.block, claim.tensor).decode_seconds)
        if self._schedule.is_last(claim):
            self._complete(claim.block)
            self._schedule.arrived(claim.block)
            self._pauses.end(claim.block)

    def _complete(self, block: int) -> None:
        """All tensors of the block are decoded: it is in its slot, or its copy is ordered."""
        self._loaded.add(block)
        if self._machine.link is None:
            self._stays[block].ready = self.clock.now
            return
        del self._leased[block]
        slots_free = max(self._left.get(other, 0.0) for other in (block, *self._plan.overlapping[block]))
        start = max(self.clock.now, self._link_free, slots_free)
        self._link_free = start + self._plan.blocks[block].nbytes / self._machine.link
        self._arriving(block, start)
        self._stays[block].ready = self._link_free
        self._buffers.append(self._link_free)

    def _arriving(self, block: int, since: float) -> None:
        self._stays[block] = stay = Stay(block, since)
        self.run.stays.append(stay)

    def _read_ahead(self, block: int) -> None:
        """The engine tells the system what comes after this block: the disk goes on while this one is decoded."""
        following = self._plan.loaded_next.get(block)
        if following is None:
            return
        if following in self._plan.resident and self._schedule.states[following] is not BlockState.EMPTY:
            return
        for tensor in range(len(self._plan.blocks[following].tensors)):
            self._request(following, tensor)

    def _request(self, block: int, tensor: int) -> None:
        """The disk gives what was asked for first, first."""
        if (block, tensor) in self._requested:
            return
        nbytes = self._cost(block, tensor).disk_nbytes if self._machine.disk is not None else 0
        if nbytes:
            assert self._machine.disk is not None
            self._disk_free = max(self._disk_free, self.clock.now) + nbytes / self._machine.disk
        self._requested[block, tensor] = self._disk_free if nbytes else self.clock.now

    def _cost(self, block: int, tensor: int) -> LoadCost:
        loads = self._costs.later_loads if block in self._loaded else self._costs.first_loads
        return loads[block][tensor]
