"""Each event is added up, and noted as a span only if a trace is wanted."""

from __future__ import annotations

from streamer.plan import TensorPlace
from streamer.runtime.account import Account
from streamer.runtime.spans import Lane, SpanRecorder
from streamer.runtime.stats import Work

PLACE = TensorPlace("a.weight", (4,), 0, 16)


def happen(account: Account) -> None:
    account.begin_step()
    account.reads.note(1.0, 1.25, 100)
    account.loaded("a", PLACE, 1.0, 2.0)
    account.sent("a", 2.0, 2.5, 512)
    account.waited("a", 0.0, 2.5)
    account.computed("a", 2.5, 4.5)


def test_it_is_added_up():
    account = Account()
    happen(account)
    assert account.stats.by_block == {"a": Work(100, 16, 512, 0.25, 0.75, 0.5, 2.0, 2.5)}


def test_what_the_device_expands_is_counted_beside_what_is_copied():
    account = Account()
    account.sent("a", 2.0, 2.5, 512, 1536)
    account.sent("a", 3.0, 3.5, 0, 1536)
    assert account.stats.totals.work == Work(uploaded_nbytes=512, upload_seconds=1.0, expanded_nbytes=3072)


def test_with_a_recorder_every_span_is_noted_too():
    account = Account()
    account.recorder = SpanRecorder()
    happen(account)
    assert [(s.lane, s.name, s.start, s.end, s.nbytes, s.step) for s in account.recorder.spans] == [
        (Lane.DECODE, "a.weight", 1.0, 2.0, 16, 1),
        (Lane.DISK, "a.weight", 1.0, 1.25, 100, 1),
        (Lane.UPLOAD, "a", 2.0, 2.5, 512, 1),
        (Lane.WAIT, "a", 0.0, 2.5, 0, 1),
        (Lane.COMPUTE, "a", 2.5, 4.5, 0, 1),
    ]


def test_with_a_clock_spans_are_the_devices_and_sums_are_the_programs():
    class Clock:
        def __init__(self) -> None:
            self.now = 10.0

        def mark(self):
            self.now += 1.0
            at = self.now
            return lambda: at

    account = Account()
    account.recorder = SpanRecorder()
    assert account.mark() is None
    account.clock = Clock()
    began = account.mark()
    account.computed("a", 1.0, 2.0, began)
    account.sent("b", 1.0, 1.5, 8, 0, (began, began))
    assert [(s.start, s.end) for s in account.recorder.spans] == [(11.0, 12.0), (11.0, 11.0)]
    assert account.stats.by_block["a"].compute_seconds == 1.0
    assert account.stats.by_block["b"].upload_seconds == 0.5
