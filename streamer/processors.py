"""How many processors there are to use, and how threads that wait leave them to others."""

from __future__ import annotations

import os
import sys


def processors() -> int:
    """At least 1: those that this process may use, which a cpuset or ``taskset`` may have made fewer.

    A quota of their time, as containers may have, isn't counted: threads then share fewer than they are told.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wait_without_spinning() -> None:
    """Threads of torch that have nothing to do give up their processor soon, which others of this process want.

    With GNU's OpenMP, as torch has it on Linux, and only if torch isn't loaded yet: it looks at the environment once.
    What the environment says about it already holds. Source: ``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY``, libgomp's manual.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
