"""Spans are kept as they end, with their thread and step, up to a limit."""

from __future__ import annotations

import threading

from streamer.runtime import spans
from streamer.runtime.spans import Lane, SpanRecorder


def test_a_span_carries_its_thread_and_its_step():
    recorder = SpanRecorder()
    recorder.note(Lane.DISK, "early", 1.0, 2.0, 7)
    recorder.begin_step()
    thread = threading.Thread(target=lambda: recorder.note(Lane.COMPUTE, "a", 3.0, 4.0), name="worker")
    thread.start()
    thread.join()
    early, late = recorder.spans
    assert (early.step, early.nbytes, early.lane, early.start, early.end) == (0, 7, Lane.DISK, 1.0, 2.0)
    assert (late.step, late.thread, late.name) == (1, "worker", "a")


def test_beyond_the_limit_spans_are_counted_not_kept(monkeypatch):
    monkeypatch.setattr(spans, "_MOST", 2)
    recorder = SpanRecorder()
    for i in range(5):
        recorder.note(Lane.WAIT, str(i), 0.0, 1.0)
    assert [span.name for span in recorder.spans] == ["0", "1"]
    assert recorder.dropped == 3
