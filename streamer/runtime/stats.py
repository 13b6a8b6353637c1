"""What the engine did: bytes for each hop, seconds of each kind, for each step."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

_STEPS_KEPT = 10_000


@dataclass(frozen=True)
class StepStats:
    """One forward of the streamed module.

    Attributes:
        seconds: it took.
        waited_seconds: of these the compute thread waited for weights.
        loaded_nbytes: that arrived on the device meanwhile, in the compute type.
        load_seconds: that all workers together spent reading, decoding and sending meanwhile.
    """

    seconds: float
    waited_seconds: float
    loaded_nbytes: int
    load_seconds: float

    @property
    def stall_share(self) -> float:
        """Waiting as a share of the step, 0 to 1."""
        return self.waited_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Totals:
    """Since the start.

    Attributes:
        loaded_nbytes: that arrived on the device.
        load_seconds: of all workers together.
        waited_seconds: of the compute thread.
        surprises: blocks whose turn came when the order said another's.
        replans: how often another order called for another plan.
        steps: forwards that ended.
        step_seconds: of all of them together.
    """

    loaded_nbytes: int = 0
    load_seconds: float = 0.0
    waited_seconds: float = 0.0
    surprises: int = 0
    replans: int = 0
    steps: int = 0
    step_seconds: float = 0.0


class StreamStats:
    """Counts as the engine works. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()
        self._steps: deque[StepStats] = deque(maxlen=_STEPS_KEPT)
        self._first_step_seconds = 0.0
        self._waited_by_block: dict[str, float] = {}
        self._step_start: tuple[float, Totals] | None = None

    @property
    def totals(self) -> Totals:
        """All counters as they stand."""
        with self._lock:
            return self._totals

    @property
    def steps(self) -> tuple[StepStats, ...]:
        """Every forward that ended, oldest first; the last 10,000."""
        with self._lock:
            return tuple(self._steps)

    @property
    def first_step_seconds(self) -> float:
        """What the first forward took; 0 before it ended."""
        with self._lock:
            return self._first_step_seconds

    @property
    def waited_by_block(self) -> dict[str, float]:
        """Seconds that the compute thread waited for each block, by name, since the start."""
        with self._lock:
            return dict(self._waited_by_block)

    def loaded(self, nbytes: int, seconds: float) -> None:
        """A worker brought a tensor."""
        with self._lock:
            t = self._totals
            self._totals = replace(t, loaded_nbytes=t.loaded_nbytes + nbytes, load_seconds=t.load_seconds + seconds)

    def waited(self, block: str, seconds: float, *, surprised: bool) -> None:
        """The compute thread waited for a block; ``surprised``: it wasn't the one the order said."""
        with self._lock:
            t = self._totals
            self._waited_by_block[block] = self._waited_by_block.get(block, 0.0) + seconds
            self._totals = replace(t, waited_seconds=t.waited_seconds + seconds, surprises=t.surprises + surprised)

    def replanned(self) -> None:
        """Another plan was made."""
        with self._lock:
            self._totals = replace(self._totals, replans=self._totals.replans + 1)

    def begin_step(self) -> None:
        """A forward starts."""
        with self._lock:
            self._step_start = (time.perf_counter(), self._totals)

    def end_step(self) -> None:
        """The forward ended."""
        with self._lock:
            if self._step_start is None:
                return
            start, before = self._step_start
            self._step_start = None
            now = self._totals
            seconds = time.perf_counter() - start
            if not now.steps:
                self._first_step_seconds = seconds
            self._totals = replace(now, steps=now.steps + 1, step_seconds=now.step_seconds + seconds)
            self._steps.append(
                StepStats(
                    seconds=seconds,
                    waited_seconds=now.waited_seconds - before.waited_seconds,
                    loaded_nbytes=now.loaded_nbytes - before.loaded_nbytes,
                    load_seconds=now.load_seconds - before.load_seconds,
                )
            )
