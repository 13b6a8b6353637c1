"""Who is in a forward: one thread at a time, and whoever else begins one is told instead of given wrong numbers."""

from __future__ import annotations

import threading

from streamer.errors import EngineBusyError


class Stepping:
    """The thread that is in a step, if any. Thread-safe. A thread that died in its step isn't in it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def now(self) -> bool:
        """Whether a thread is in a step."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def begin(self) -> None:
        """The calling thread is in a step. Again if it was, since the one before may have been broken off.

        Raises:
            EngineBusyError: another thread is.
        """
        with self._lock:
            self._require_no_other()
            self._thread = threading.current_thread()

    def end(self) -> None:
        """The calling thread isn't in a step any more; without effect if it wasn't."""
        with self._lock:
            if self._thread is threading.current_thread():
                self._thread = None

    def require_no_other(self) -> None:
        """Returns unless another thread is in a step.

        Raises:
            EngineBusyError: one is.
        """
        with self._lock:
            self._require_no_other()

    def _require_no_other(self) -> None:
        if self.now and self._thread is not threading.current_thread():
            raise EngineBusyError
