"""The worker threads that load ahead."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable

from streamer.errors import EngineClosedError

JOIN_SECONDS = 1.5
"""Longest that stopping waits for all workers together; each ends after the tensor it is at."""


class PrefetchThreads:
    """Threads that call ``load_next`` until it returns False. They never die silently. Owned by the engine.

    Args:
        count: of threads, which begin with `start`.
        load_next: loads one tensor, waiting until there is one to load; False: stop.
        failed: told of what `load_next` raised; the thread goes on after that.
        name: for the threads.
    """

    def __init__(
        self, count: int, load_next: Callable[[], bool], failed: Callable[[BaseException], None], name: str
    ) -> None:
        self._load_next = load_next
        self._failed = failed
        self._process = os.getpid()
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True) for i in range(count)]

    def start(self) -> None:
        """They begin to load. Once."""
        for thread in self._threads:
            thread.start()

    def require_here(self) -> None:
        """Returns only if they can be waited for.

        Raises:
            EngineClosedError: this is a child of the process that they run in: a fork takes no other threads along.
        """
        if os.getpid() != self._process:
            raise EngineClosedError(
                "The process was forked after this module was loaded, and what loads its weights isn't in the child.",
                'Load the module in the child, or start it otherwise: multiprocessing.get_context("spawn").',
            )

    @property
    def am_one(self) -> bool:
        """Whether the calling thread is one of them."""
        return threading.current_thread() in self._threads

    def join(self) -> None:
        """Waits for the threads to end, but for the calling one; the engine must have told them to stop."""
        deadline = time.monotonic() + JOIN_SECONDS
        others = [thread for thread in self._threads if thread.ident and thread is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        alive = [thread.name for thread in others if thread.is_alive()]
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
