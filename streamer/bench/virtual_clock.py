"""A clock that only events move: processes that work on shared processors, wait for a time, or for each other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

_NOTHING_LEFT = 1e-12  # seconds of work


@dataclass(frozen=True)
class OnCores:
    """Work of so many threads at once, that takes ``seconds`` if each has a processor to itself."""

    threads: int
    seconds: float


@dataclass(frozen=True)
class Until:
    """Nothing to do before this time."""

    time: float


@dataclass(frozen=True)
class Paused:
    """Waiting for what another process does: asked again after anything happened."""


Process = Generator[OnCores | Until | Paused, None, None]


class VirtualClock:
    """Runs processes in virtual time. Threads share the processors evenly: with more threads than processors each
    has the same part of one, as an operating system's fair scheduler does.

    Args:
        cores: processors.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self.now = 0.0

    def run(self, main: Process, others: Sequence[Process]) -> None:
        """Returns when the main process has ended; the others are left where they are.

        Raises:
            RuntimeError: all wait for each other.
        """
        processes = [main, *others]
        waits: list[OnCores | Until | Paused | None] = [Paused() for _ in processes]
        left = [0.0] * len(processes)
        while self._resume(processes, waits, left):
            share, step = self._next_event(waits, left)
            self.now += step
            for i, wait in enumerate(waits):
                if isinstance(wait, OnCores):
                    left[i] -= step * share

    def _resume(
        self, processes: Sequence[Process], waits: list[OnCores | Until | Paused | None], left: list[float]
    ) -> bool:
        """Every process goes on as far as it can without time passing. False once the main one has ended."""
        idle_rounds = 0
        while idle_rounds < 2:  # twice: what a process did before it paused may be what an earlier one waits for
            idle_rounds += 1
            for i, process in enumerate(processes):
                before = waits[i]
                if before is None or not self._may_go_on(before, left[i]):
                    continue
                wait = next(process, None)
                waits[i] = wait
                if wait is None and process is processes[0]:
                    return False
                left[i] = wait.seconds if isinstance(wait, OnCores) else 0.0
                if not (isinstance(before, Paused) and isinstance(wait, Paused)):
                    idle_rounds = 0
        return True

    def _may_go_on(self, wait: OnCores | Until | Paused, left: float) -> bool:
        if isinstance(wait, OnCores):
            return left <= _NOTHING_LEFT
        return isinstance(wait, Paused) or wait.time <= self.now

    def _next_event(
        self, waits: Sequence[OnCores | Until | Paused | None], left: Sequence[float]
    ) -> tuple[float, float]:
        """Each thread's part of a processor, and the seconds until the first process may go on."""
        threads = sum(wait.threads for wait in waits if isinstance(wait, OnCores))
        share = min(1.0, self._cores / max(threads, 1))
        times = [left[i] / share for i, wait in enumerate(waits) if isinstance(wait, OnCores)]
        times += [wait.time - self.now for wait in waits if isinstance(wait, Until)]
        if not times:
            raise RuntimeError("every process waits for another")
        return share, min(times)
