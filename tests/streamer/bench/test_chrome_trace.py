"""The trace has every span, in microseconds from the first, in rows by thread."""

from __future__ import annotations

import json

from streamer.bench.chrome_trace import chrome_trace
from streamer.runtime.spans import Lane, Span

SPANS = [
    Span(Lane.DISK, "w", 10.1, 10.2, "worker-0", 1, 64),
    Span(Lane.DECODE, "w", 10.1, 10.5, "worker-0", 1, 128),
    Span(Lane.WAIT, "block", 10.0, 10.5, "main", 1),
    Span(Lane.COMPUTE, "block", 10.5, 11.0, "main", 1),
]


def test_every_span_is_there_with_its_times():
    events = json.loads(chrome_trace(SPANS))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert list(names.values()) == ["main", "worker-0"]  # the compute's row first
    complete = [event for event in events if event["ph"] == "X"]
    assert [(e["name"], e["cat"], round(e["ts"]), round(e["dur"]), names[e["tid"]]) for e in complete] == [
        ("wait for block", "wait", 0, 500_000, "main"),
        ("w", "decode", 100_000, 400_000, "worker-0"),  # before the read within it
        ("w", "disk", 100_000, 100_000, "worker-0"),
        ("block", "compute", 500_000, 500_000, "main"),
    ]
    assert complete[2]["args"] == {"step": 1, "bytes": 64}


def test_no_spans_give_an_empty_trace():
    assert json.loads(chrome_trace([]))["traceEvents"] == []
