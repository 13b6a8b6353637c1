"""The memory of this process, as the operating system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def peak_resident_nbytes() -> int:
    """The most resident memory that the process has had so far, in bytes; what its parent had doesn't count."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage: it also counts what the process was before it executed its program, a copy of its parent.
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    kibibytes = sys.platform != "darwin"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if kibibytes else 1)


def forget_peak() -> bool:
    """From now on the peak is counted anew, where the system can; returns whether it can."""
    if sys.platform != "linux":
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True
