"""A worker's error is told once, and not kept."""

from __future__ import annotations

from streamer.errors import BrokenStepError
from streamer.runtime.failure import LoadFailure


def test_the_first_one_is_told_once_and_then_only_that_there_was_one():
    failure = LoadFailure()
    assert not failure.happened
    first = OSError("first")
    failure.note(first)
    failure.note(OSError("second"))
    assert failure.told() is first
    failure.note(OSError("third"))
    assert isinstance(failure.told(), BrokenStepError)
    assert failure.happened


def test_cleared_it_is_as_new():
    failure = LoadFailure()
    failure.note(OSError("old"))
    failure.clear()
    assert not failure.happened
    failure.note(OSError("new"))
    assert str(failure.told()) == "new"
