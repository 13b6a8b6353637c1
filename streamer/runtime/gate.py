"""One forward at a time: whoever comes from another thread waits until the one before has come out."""

from __future__ import annotations

import threading

_PATIENCE_SECONDS = 0.2  # between looks whether who is inside still lives


class Gate:
    """At most one forward is inside. Its own thread passes freely, others wait; those of a thread that ended don't."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: tuple[threading.Thread, object] | None = None

    def enter(self, who: object) -> None:
        """Returns when the calling thread may compute.

        Args:
            who: comes out again with `leave`; if it is called within a forward that is inside, it needn't.
        """
        me = threading.current_thread()
        with self._changed:
            while self._inside is not None and self._inside[0] is not me and self._inside[0].is_alive():
                self._changed.wait(_PATIENCE_SECONDS)
            if self._inside is None or self._inside[0] is not me:
                self._inside = me, who

    def leave(self, who: object) -> None:
        """Whoever entered first in this thread is out; without effect from others."""
        with self._changed:
            if self._inside == (threading.current_thread(), who):
                self._inside = None
                self._changed.notify_all()
