"""Made-up children and results, for tests that measure nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.compare import summary, verdict
from benchmarks.compare.runtimes import Runtime
from benchmarks.compare.watch import Watched

RESIDENT = Runtime("resident", "resident", "resident")
PEER = Runtime("accelerate disk_offload", "peer", "disk_offload")
REFUSED = Runtime("mmgp", "peer", "mmgp")
OURS = Runtime("this project, LZR2 lattice-heavy, 1GB", "this project", "streamed", container=".lzr2")


def child(
    steps: Sequence[float] = (2.0, 1.0, 1.0),
    *,
    ready: float = 5.0,
    peak: int | None = 1000,
    own: int | None = 800,
    digest: str = "same",
    device: int | None = None,
    cached: int | None = 300,
    cold: Sequence[float] = (),
    read: int = 0,
    reason: str = "",
) -> Watched:
    """What would have been seen of a child that makes these steps."""
    if reason:
        return Watched(reason=reason)
    at = ready
    marks: list[dict[str, Any]] = [{"what": "ready", "at": at, "threads": 2, "memory": {}}]
    for what, seconds, nbytes in [("step", s, read) for s in steps] + [("cold step", s, 7 * read) for s in cold]:
        at += seconds
        facts = {"seconds": seconds, "read": {"read_bytes": nbytes, "rchar": 0}, "digest": digest, "finite": True}
        left = {"cached": 0} if what == "cold step" else {}
        marks.append({"what": what, "at": at, "memory": {}, **facts, **left})
    stepped = {"cached": cached, "allocator_peak": None, "difference": 0.25}
    marks.append({"what": "stepped", "at": at, "memory": {}, **stepped})
    halves = [None if nbytes is None else nbytes // 2 for nbytes in (peak, own)]
    return Watched(marks, halves[0], peak, halves[1], own, device)


def result(children: Sequence[tuple[Runtime, Sequence[Watched]]], on_device: bool = False) -> dict[str, Any]:
    """As `compare_runtimes` would write it: of each runtime its child in each round."""
    runtimes = [runtime for runtime, _ in children]
    records = [summary.run_record(runtime, n, seen, 0) for runtime, rounds in children for n, seen in enumerate(rounds)]
    rows = summary.rows(runtimes, records)
    return {
        "format": 2,
        "date": "2026-01-02",
        "command": "python -m benchmarks.compare_runtimes --model demo",
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "memory_nbytes": 8_000_000_000,
            "storage": "a disk",
            "device": "the processor",
            "versions": {"torch": "2", "mmgp": None},
        },
        "model": {"name": "demo", "weights": 1234, "pixels": 64, "batch": 1, "compute": "float32"},
        "threads": 2,
        "device": "cuda" if on_device else "cpu",
        "revision": "0123456789ab",
        "environment": {"OMP_NUM_THREADS": "2"},
        "rounds": 2,
        "steps": 3,
        "cold_start": True,
        "rows": [row.to_json() for row in rows],
        "not_run": summary.not_run(runtimes, records),
        "verdicts": [vars(each) for each in verdict.verdicts(rows, on_device)],
        "runs": records,
    }
