"""What is to be closed is closed, whatever else fails."""

from __future__ import annotations

import gc
import weakref

import pytest

from streamer.sources.closing import close_after_failure, close_all


def recording(called: list[str], name: str, error: BaseException | None = None):
    def close() -> None:
        called.append(name)
        if error is not None:
            raise error

    return close


@pytest.mark.parametrize("error", [OSError("a"), KeyboardInterrupt()])
def test_all_are_called_in_order_and_the_first_error_is_raised(error):
    called: list[str] = []
    with pytest.raises(type(error)) as caught:
        close_all(recording(called, "a", error), recording(called, "b", ValueError("b")), recording(called, "c"))
    assert caught.value is error
    assert called == ["a", "b", "c"]


def test_an_interrupt_is_not_lost_among_errors():
    for closes in (close_all, close_after_failure):
        with pytest.raises(KeyboardInterrupt):
            closes(recording([], "a", OSError("a")), recording([], "b", KeyboardInterrupt()), recording([], "c"))


def test_without_an_error_nothing_is_raised():
    called: list[str] = []
    close_all(recording(called, "a"), recording(called, "b"))
    close_all()
    assert called == ["a", "b"]


def test_an_error_keeps_nothing_alive_once_it_is_dealt_with():
    class Thing:
        def close(self) -> None:
            raise OSError("gone")

    thing = Thing()
    there = weakref.ref(thing)
    gc.disable()
    try:
        with pytest.raises(OSError, match="gone"):
            close_all(thing.close)
        del thing
        assert there() is None
    finally:
        gc.enable()


def test_after_a_failure_others_stay_untold_but_for_an_interrupt():
    called: list[str] = []
    close_after_failure(recording(called, "a", OSError("a")), recording(called, "b"))
    assert called == ["a", "b"]
    with pytest.raises(KeyboardInterrupt):
        close_after_failure(recording(called, "c", KeyboardInterrupt()), recording(called, "d"))
    assert called == ["a", "b", "c", "d"]
