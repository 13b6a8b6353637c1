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


def test_what_a_device_does_has_its_times_once_they_are_asked_for():
    asked: list[str] = []

    def mark(name: str, seconds: float):
        def ask() -> float:
            asked.append(name)
            return seconds

        return ask

    recorder = SpanRecorder()
    recorder.note(Lane.UPLOAD, "a", 1.0, 1.1, 5, (mark("began", 2.0), mark("ended", 3.0)))
    recorder.note(Lane.DECODE, "b", 1.2, 1.3)
    assert asked == []
    for _ in range(2):
        assert [(span.start, span.end) for span in recorder.spans] == [(2.0, 3.0), (1.2, 1.3)]
    assert asked == ["began", "ended"]
