"""Runs one child and watches it from outside: when it said what, and how much memory the system gave it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.compare import counters
from benchmarks.compare.child import MARK
from benchmarks.compare.device_memory import DeviceMemory

SAMPLE_SECONDS = 0.02
_REASON_LENGTH = 400
_FOLDERS = re.compile(r"(?<![\w./\\])(?<!https:)(?<!http:)(?:[A-Za-z]:)?[\\/]{1,3}(?:[^\s'\"\\/]+[\\/]{1,2})+")
_OWN_FOLDERS = tuple({str(Path.home()), sys.prefix, tempfile.gettempdir(), str(Path.cwd())} - {os.sep})


@dataclass
class Watched:
    """What was seen of a child.

    Attributes:
        marks: what it told, each with ``at``, seconds since it was started.
        peak_load_nbytes: most bytes resident before it was ready; None, as those below, if the system doesn't tell.
        peak_steps_nbytes: most bytes resident from then on.
        own_load_nbytes: of the bytes resident before it was ready, the most that weren't pages of files.
        own_steps_nbytes: the same from then on.
        device_nbytes: the most that the device had taken beyond what it had before; None without one.
        stolen_seconds: of processors, that the machine's host gave to others meanwhile; None if it doesn't tell.
        reason: why it ended early; empty if it didn't.
    """

    marks: list[dict[str, Any]] = field(default_factory=list)
    peak_load_nbytes: int | None = None
    peak_steps_nbytes: int | None = None
    own_load_nbytes: int | None = None
    own_steps_nbytes: int | None = None
    device_nbytes: int | None = None
    stolen_seconds: float | None = None
    reason: str = ""

    def first(self, what: str) -> dict[str, Any] | None:
        """The first mark of this kind."""
        return next((mark for mark in self.marks if mark["what"] == what), None)

    def all(self, what: str) -> list[dict[str, Any]]:
        """The marks of this kind, in order."""
        return [mark for mark in self.marks if mark["what"] == what]


def watch(
    command: Sequence[str], environment: Mapping[str, str], timeout_seconds: float, on_cuda: bool = False
) -> Watched:
    """Runs the command to its end, or kills it when its time is over.

    Args:
        command: of the child.
        environment: all of it.
        timeout_seconds: for the whole child.
        on_cuda: watch the device's memory too.
    """
    seen = Watched()
    device = DeviceMemory() if on_cuda else None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        stolen = counters.stolen_seconds()
        started = time.perf_counter()
        child = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=complaints, text=True)
        listener = threading.Thread(target=_listen, args=(child, started, seen), daemon=True)
        listener.start()
        try:
            late = _sample_until_end(child, started + timeout_seconds, seen)
        finally:
            child.kill()
            child.wait()
            listener.join()
            if child.stdout is not None:
                child.stdout.close()
            seen.device_nbytes = device.stop() if device is not None else None
            if stolen is not None and (now := counters.stolen_seconds()) is not None:
                seen.stolen_seconds = now - stolen
        complaints.seek(0)
        seen.reason = _reason(child.returncode, late, timeout_seconds, complaints.read(), seen)
    _add_peaks_told(seen)
    return seen


def _listen(child: subprocess.Popen[str], started: float, seen: Watched) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(MARK):
            seen.marks.append({"at": time.perf_counter() - started, **json.loads(line[len(MARK) :])})


def _sample_until_end(child: subprocess.Popen[str], end: float, seen: Watched) -> bool:
    """Whether its time was over first."""
    while child.poll() is None:
        if time.perf_counter() > end:
            return True
        ready = seen.first("ready") is not None
        now = counters.memory(child.pid)
        resident, own = now.get("VmRSS"), now.get("RssAnon")
        if ready:
            seen.peak_steps_nbytes = most(seen.peak_steps_nbytes, resident)
            seen.own_steps_nbytes = most(seen.own_steps_nbytes, own)
        else:
            seen.peak_load_nbytes = most(seen.peak_load_nbytes, resident)
            seen.own_load_nbytes = most(seen.own_load_nbytes, own)
        time.sleep(SAMPLE_SECONDS)
    return False


def most(*known: int | None) -> int | None:
    """The largest of those that are known; None if none is."""
    return max((value for value in known if value is not None), default=None)


def _add_peaks_told(seen: Watched) -> None:
    """The system's own peaks see what falls between two samples."""
    loading = sys.maxsize  # until it is ready
    for mark in seen.marks:
        peak = mark.get("memory", {}).get("VmHWM")
        if mark["what"] == "ready":
            seen.peak_load_nbytes = most(seen.peak_load_nbytes, peak)
            loading = 0 if mark.get("peak_is_anew") else peak or 0
        elif peak is not None and peak > loading:  # it wasn't begun anew, so what is no more than before tells nothing
            seen.peak_steps_nbytes = most(seen.peak_steps_nbytes, peak)


def _reason(code: int, late: bool, timeout_seconds: float, complaints: str, seen: Watched) -> str:
    if late:
        return f"not done after {timeout_seconds:.0f} s"
    if seen.first("done") is not None:
        return ""
    if code < 0:
        return f"ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return _last_error(complaints) or f"ended with exit code {code}"


def _last_error(complaints: str) -> str:
    """What a traceback ends with, which may be several lines; without a traceback the last line."""
    lines = [line for line in complaints.splitlines() if line.strip()]
    indented = [n for n, line in enumerate(lines) if line[0].isspace()]
    first = indented[-1] + 1 if indented else len(lines) - 1
    told = " ".join(line.strip() for line in lines[max(0, min(first, len(lines) - 1)) :])
    told = without_folders(told)  # of this machine, which are nobody else's business
    return told if len(told) <= _REASON_LENGTH else told[:_REASON_LENGTH] + " ..."


def without_folders(text: str, own: Sequence[str] = _OWN_FOLDERS) -> str:
    """The text with paths' last parts alone, as far as paths can be told from other text; addresses stay.

    Args:
        text: to show to others.
        own: folders that are cut off wherever they stand, also if there are spaces in them.
    """
    for folder in sorted(own, key=len, reverse=True):
        for written in (folder, folder.replace("\\", "\\\\")):  # as it is, and as a string of Python's
            text = re.sub(re.escape(written) + r"(?![\w.-])", "", text)
    return _FOLDERS.sub("", text)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]
