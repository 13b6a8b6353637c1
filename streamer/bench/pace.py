"""The speed of an emulated storage: when bytes would be there. Needs no torch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from streamer.errors import SettingError

SPEEDS = {"hdd": 160e6, "usb3": 400e6, "sata": 530e6, "nvme3": 3.2e9, "nvme4": 6.5e9}
"""Bytes a second that good ones of each kind give in long reads, by name."""

_LEAST, _MOST = 1e5, 1e12  # bytes a second


def emulated_speed(text: str) -> float:
    """Bytes a second of a kind of storage by its name, or of a number of MB/s.

    Raises:
        SettingError: it is neither.
    """
    if text.lower() in SPEEDS:
        return SPEEDS[text.lower()]
    try:
        speed = float(text) * 1e6
    except ValueError:
        speed = math.nan
    if not _LEAST <= speed <= _MOST:
        raise SettingError(
            f"{text[:40]!r} is no storage that can be emulated.", f"Use {', '.join(SPEEDS)} or a number of MB/s."
        )
    return speed


class Pace:
    """One device that gives what was asked for first, first, at one speed. Thread-safe.

    Args:
        speed: bytes a second.
        clock: tells the time in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self, speed: float, clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free = -math.inf

    def ask(self, nbytes: int) -> float:
        """When so many more bytes will be there, if asked for now."""
        with self._lock:
            self._free = max(self._free, self._clock()) + nbytes / self._speed
            return self._free

    def wait(self, due: float) -> None:
        """Returns at that time, or at once if it has passed."""
        while (left := due - self._clock()) > 0:
            self._sleep(left)
