"""Spans as a trace file that Chrome (chrome://tracing) and Perfetto (ui.perfetto.dev) open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streamer.runtime.spans import Lane, Span

_ORDER = (Lane.COMPUTE, Lane.WAIT, Lane.DECODE, Lane.DISK, Lane.UPLOAD)


def chrome_trace(spans: Sequence[Span]) -> str:
    """The JSON text of a trace: one row for each thread, each kind of span in it a category, times from the first.

    Format: "Trace Event Format", complete events (``"ph": "X"``), microseconds.

    Args:
        spans: of one process, in any order.
    """
    origin = min((span.start for span in spans), default=0.0)
    threads = {name: number for number, name in enumerate(dict.fromkeys(span.thread for span in _by_importance(spans)))}
    events: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": name}}
        for name, number in threads.items()
    ]
    # A span within another has to come after it; of two that start together the longer first.
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        event: dict[str, Any] = {
            "name": f"wait for {span.name}" if span.lane is Lane.WAIT else span.name,
            "cat": span.lane.value,
            "ph": "X",
            "ts": round((span.start - origin) * 1e6, 3),
            "dur": round((span.end - span.start) * 1e6, 3),
            "pid": 1,
            "tid": threads[span.thread],
            "args": {"step": span.step} | ({"bytes": span.nbytes} if span.nbytes else {}),
        }
        events.append(event)
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})


def _by_importance(spans: Sequence[Span]) -> list[Span]:
    """The compute thread's row first."""
    return sorted(spans, key=lambda span: (_ORDER.index(span.lane), span.thread))
