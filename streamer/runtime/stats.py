"""What the engine did: bytes for each hop and seconds of each kind, for each step and each block."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, fields

_STEPS_KEPT = 10_000


@dataclass(frozen=True)
class Work:
    """Bytes and seconds that add up.

    Attributes:
        read_nbytes: from storage, or from the system's page cache.
        loaded_nbytes: of weights that were read for the device, in the compute type, whatever the form they moved in.
        uploaded_nbytes: that were copied from a staging buffer: fewer, where blocks move packed; padding included.
        read_seconds: of all workers together, waiting for storage.
        decode_seconds: of all workers together, inflating, expanding and casting.
        upload_seconds: of all workers together, sending and expanding; on a device with streams of its own only the
            calls.
        compute_seconds: from a block's weights being there until they were let go; on a GPU only the launches.
        waited_seconds: of the compute thread, for weights.
        expanded_nbytes: of weights that the device wrote itself from a packed form, in the compute type.
    """

    read_nbytes: int = 0
    loaded_nbytes: int = 0
    uploaded_nbytes: int = 0
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    upload_seconds: float = 0.0
    compute_seconds: float = 0.0
    waited_seconds: float = 0.0
    expanded_nbytes: int = 0

    @property
    def load_seconds(self) -> float:
        """Of all workers together: reading, decoding and sending."""
        return self.read_seconds + self.decode_seconds + self.upload_seconds

    def plus(self, other: Work) -> Work:
        """Both together. Written out: it is done several times for each block, on the thread that computes."""
        return Work(
            self.read_nbytes + other.read_nbytes,
            self.loaded_nbytes + other.loaded_nbytes,
            self.uploaded_nbytes + other.uploaded_nbytes,
            self.read_seconds + other.read_seconds,
            self.decode_seconds + other.decode_seconds,
            self.upload_seconds + other.upload_seconds,
            self.compute_seconds + other.compute_seconds,
            self.waited_seconds + other.waited_seconds,
            self.expanded_nbytes + other.expanded_nbytes,
        )

    def less(self, other: Work) -> Work:
        """What came after the other."""
        return Work(**{name: getattr(self, name) - getattr(other, name) for name in _WORK})


_WORK = tuple(f.name for f in fields(Work))


@dataclass(frozen=True)
class StepStats:
    """One forward of the streamed module.

    Attributes:
        seconds: it took.
        work: done meanwhile, for this step or the next.
    """

    seconds: float
    work: Work = field(default_factory=Work)

    @property
    def stall_share(self) -> float:
        """Waiting as a share of the step, 0 to 1."""
        return self.work.waited_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Totals:
    """Since the start.

    Attributes:
        work: all of it.
        surprises: blocks whose turn came when the order said another's.
        replans: how often another order called for another plan.
        steps: forwards that ended.
        step_seconds: of all of them together.
    """

    work: Work = field(default_factory=Work)
    surprises: int = 0
    replans: int = 0
    steps: int = 0
    step_seconds: float = 0.0


class StreamStats:
    """Counts as the engine works. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_block: dict[str, Work] = {}
        self._work = Work()
        self._surprises = 0
        self._replans = 0
        self._n_steps = 0
        self._step_seconds = 0.0
        self._steps: deque[StepStats] = deque(maxlen=_STEPS_KEPT)
        self._first_step_seconds = 0.0
        self._step_start: tuple[float, Work] | None = None

    @property
    def totals(self) -> Totals:
        """All counters as they stand."""
        with self._lock:
            return Totals(self._work, self._surprises, self._replans, self._n_steps, self._step_seconds)

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
    def by_block(self) -> dict[str, Work]:
        """The work for each block, by name, since the start."""
        with self._lock:
            return dict(self._by_block)

    def add(self, block: str, work: Work) -> None:
        """Something was done for a block."""
        with self._lock:
            self._work = self._work.plus(work)
            self._by_block[block] = self._by_block.get(block, Work()).plus(work)

    def surprised(self) -> None:
        """A block's turn came when the order said another's."""
        with self._lock:
            self._surprises += 1

    def replanned(self) -> None:
        """Another plan was made."""
        with self._lock:
            self._replans += 1

    def begin_step(self) -> None:
        """A forward starts."""
        with self._lock:
            self._step_start = (time.perf_counter(), self._work)

    def end_step(self) -> None:
        """The forward ended."""
        with self._lock:
            if self._step_start is None:
                return
            start, before = self._step_start
            self._step_start = None
            seconds = time.perf_counter() - start
            if not self._n_steps:
                self._first_step_seconds = seconds
            self._n_steps += 1
            self._step_seconds += seconds
            self._steps.append(StepStats(seconds, self._work.less(before)))
