"""The worker threads that load ahead."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable

JOIN_SECONDS = 1.5
"""Longest that stopping waits for all workers together; each ends after the tensor it is at."""


class PrefetchThreads:
    """Threads that call ``load_next`` until it returns False. They never die silently. Owned by the engine.

    Args:
        count: of threads.
        load_next: loads one tensor, waiting until there is one to load; False: stop.
        failed: told of what `load_next` raised; the thread goes on after that.
        name: for the threads.
    """

    def __init__(
        self, count: int, load_next: Callable[[], bool], failed: Callable[[BaseException], None], name: str
    ) -> None:
        self._load_next = load_next
        self._failed = failed
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for the threads to end; the engine must have told them to stop."""
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        if alive:
            warnings.warn(
                f"{', '.join(alive)}: still reading after {JOIN_SECONDS} s; the storage doesn't answer.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._threads = []

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            try:
                goes_on = self._load_next()
            except BaseException as error:  # noqa: BLE001 - handed to the compute thread, which raises it
                self._failed(error)
