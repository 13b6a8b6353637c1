"""What the system counts for a process: memory, bytes read. What it doesn't tell isn't known, and isn't made up."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

Counters = dict[str, int]
_MEMORY = ("VmRSS", "VmHWM", "RssAnon", "RssFile")


def memory(process: int | str = "self") -> Counters:
    """Bytes now resident (VmRSS), the most so far (VmHWM), and how much of what is resident is the process's own
    (RssAnon) or pages of files (RssFile); elsewhere than on Linux only the most so far of this process; empty if
    nothing can be known."""
    text = _read(process, "status")
    if not text and process == "self":
        return _most_so_far()
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in _MEMORY:
            found[name] = int(value.split()[0]) * 1024
    return found


def _most_so_far() -> Counters:
    """``ru_maxrss``, which macOS tells in bytes, others in KiB; Windows doesn't have it."""
    try:
        import resource
    except ImportError:
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"VmHWM": peak if sys.platform == "darwin" else peak * 1024}


def reads(process: int | str = "self") -> Counters:
    """Bytes that came from storage for the process (read_bytes, mapped files included), and bytes that its read calls
    gave it, wherever they came from (rchar, mapped files not included); empty if it can't be known."""
    pairs = (line.split(":") for line in _read(process, "io").splitlines())
    return {name: int(value) for name, value in pairs if name in ("read_bytes", "rchar")}


def stolen_seconds() -> float | None:
    """Processor seconds, of all together, that this virtual machine wanted and its host gave to others; None if the
    system doesn't tell. Source: ``steal`` of ``/proc/stat``, proc_stat(5)."""
    fields = _read(".", "stat").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def forget_peak() -> bool:
    """From now on VmHWM counts anew; whether that could be done."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        return True
    return False


def _read(process: int | str, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/{name}").read_text("ascii", "replace")
    return ""
