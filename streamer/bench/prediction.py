"""What a simulated run says: seconds a step, where the computing waits, and which resource bounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streamer.bench.simulate import Costs, LoadCost, Machine, simulate
from streamer.plan import Plan

_STEPS = 5
_MOSTLY = 0.8  # of a step that the resource which bounds it works
_COUNTED = 3  # the last ones: what the first leaves behind reaches into the second


@dataclass(frozen=True)
class Prediction:
    """Of one plan on one machine. Seconds are of one step after the first, unless said otherwise.

    Attributes:
        step_seconds: from its start to its end.
        first_step_seconds: of the first, which loads everything.
        stall_seconds: that the computing waits for each turn's block.
        compute_seconds: of the computing alone, undisturbed.
        decode_seconds: of decoding, on one processor.
        disk_seconds: of the disk; 0 if its speed isn't given.
        link_seconds: of the copies to the device.
        disk_nbytes: that have to come from the disk.
        limits: the seconds below which each resource can't get, by name.
    """

    step_seconds: float
    first_step_seconds: float
    stall_seconds: tuple[float, ...]
    compute_seconds: float
    decode_seconds: float
    disk_seconds: float
    link_seconds: float
    disk_nbytes: int
    limits: dict[str, float]

    @property
    def bound(self) -> str:
        """The resource that takes longest; `EACH_OTHER` where the step takes much longer than any."""
        name = max(self.limits, key=self.limits.__getitem__)
        return name if _MOSTLY * self.step_seconds <= self.limits[name] else EACH_OTHER

    @property
    def waited_seconds(self) -> float:
        """Of all turns together."""
        return sum(self.stall_seconds)

    @property
    def overlap(self) -> float:
        """How much of the step the busiest resource works, if none disturbs another: 0 to 1."""
        alone = max(limit for name, limit in self.limits.items() if name != PROCESSORS)
        return alone / self.step_seconds if self.step_seconds else 1.0


COMPUTE, PROCESSORS, DECODE, DISK, LINK = "computing", "the processors", "decoding", "the disk", "the link"
EACH_OTHER = "computing and loading waiting for each other"


def predict(plan: Plan, costs: Costs, machine: Machine) -> Prediction:
    """Steps in steady state, by `simulate`.

    Args:
        plan: that is carried out.
        costs: of its turns and tensors.
        machine: that does the work.
    """
    run = simulate(plan, costs, machine, _STEPS)
    first = run.step_ends[0]
    step_seconds = (run.step_ends[-1] - run.step_ends[-1 - _COUNTED]) / _COUNTED
    stalls = [0.0] * len(plan.order)
    for number, turn in enumerate(run.turns[-_COUNTED * len(plan.order) :] if plan.order else ()):
        stalls[number % len(plan.order)] += (turn.start - turn.wanted) / _COUNTED
    loads = [load for block in plan.streamed for load in costs.later_loads[block]]
    decode = _total(loads, lambda load: load.decode_seconds)
    disk_nbytes = sum(load.disk_nbytes for load in loads)
    disk = disk_nbytes / machine.disk if machine.disk is not None else 0.0
    link = plan.streamed_nbytes / machine.link if machine.link is not None else 0.0
    compute = costs.compute_seconds
    limits = {COMPUTE: compute, DECODE: decode / max(1, min(machine.workers, machine.cores)), DISK: disk, LINK: link}
    if machine.compute_threads:
        limits[PROCESSORS] = (compute * machine.compute_threads + decode) / machine.cores
    return Prediction(
        step_seconds=step_seconds,
        first_step_seconds=first,
        stall_seconds=tuple(stalls),
        compute_seconds=compute,
        decode_seconds=decode,
        disk_seconds=disk,
        link_seconds=link,
        disk_nbytes=disk_nbytes,
        limits=limits,
    )


def _total(loads: Iterable[LoadCost], seconds: Callable[[LoadCost], float]) -> float:
    return sum(map(seconds, loads))
