"""Progress of work on whole files: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from streamer.config import format_size

_SECONDS_BETWEEN_LINES = 5.0


class WorkProgress:
    """Shows how many bytes of how many are done. A context manager.

    Args:
        title: of the work.
        total_nbytes: that there are; may be told later.
        quiet: show nothing.
    """

    def __init__(self, title: str, total_nbytes: int = 0, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._title = title
        self._total = total_nbytes
        self._done = 0
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> WorkProgress:
        if not self._quiet and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._title, total=self._total or None)
            self._bar.start()
        return self

    def advance(self, nbytes: int) -> None:
        """So many more bytes are done."""
        self.reach(self._done + nbytes, self._total)

    def reach(self, done_nbytes: int, total_nbytes: int) -> None:
        """So many bytes of so many are done."""
        self._done, self._total = done_nbytes, total_nbytes
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done_nbytes, total=total_nbytes)
        elif not self._quiet and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            rate = done_nbytes / (self._last_line - self._started)
            self._console.print(
                f"{self._title}: {format_size(done_nbytes)} of {format_size(total_nbytes)}, {format_size(rate)}/s",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
