"""Progress on the standard error: a live line on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from streamer.config import format_size

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Reading:
    """What is shown after a step.

    Attributes:
        seconds: the step took.
        streamed_nbytes: arrived meanwhile.
        stall_share: of the step the compute waited for weights, 0 to 1.
        device_nbytes: of weights on the device.
        host_nbytes: resident memory of the process.
    """

    seconds: float
    streamed_nbytes: int
    stall_share: float
    device_nbytes: int
    host_nbytes: int

    def text(self) -> str:
        """For one line."""
        rate = self.streamed_nbytes / self.seconds / 1e6 if self.seconds else 0.0
        return (
            f"{self.seconds:.2f} s/step  {rate:,.0f} MB/s streamed  {self.stall_share:.0%} stalled  "
            f"weights {format_size(self.device_nbytes)}  memory {format_size(self.host_nbytes)}"
        )


class StepProgress:
    """Shows the steps of one picture. A context manager.

    Args:
        console: to print to.
        title: of the picture.
        steps: in all.
        quiet: show nothing.
    """

    def __init__(self, console: Console, title: str, steps: int, *, quiet: bool) -> None:
        self._console = console
        self._title = title if len(title) <= 40 else title[:39] + "…"
        self._steps = steps
        self._quiet = quiet
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> StepProgress:
        if not self._quiet and self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[reading]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._live.add_task(self._title, total=self._steps, reading="starting")
            self._live.start()
        return self

    def step(self, number: int, steps: int, reading: Callable[[], Reading]) -> None:
        """Step ``number`` of ``steps`` has ended: some schedulers make more than are asked for."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=number, total=steps, reading=reading().text())
        elif not self._quiet and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(
                f"{self._title}: step {number}/{steps}  {reading().text()}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
