"""How many processors there are to use."""

from __future__ import annotations

import os


def processors() -> int:
    """At least 1: those that this process may use, which a cpuset or ``taskset`` may have made fewer.

    A quota of their time, as containers may have, isn't counted: threads then share fewer than they are told.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
