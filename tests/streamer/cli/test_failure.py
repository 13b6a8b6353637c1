"""Which errors are told in words."""

from __future__ import annotations

import errno

import pytest

from lzr2.errors import Lzr2Error
from streamer.cli.failure import message, report
from streamer.errors import SizeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SizeError("4 bananas", "no unit"), "4 bananas"),
        (Lzr2Error("broken", path="w.lzr2", offset=7), "byte 7"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "x.png"), "x.png"),
        (MemoryError(), "smaller budgets"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "smaller budgets"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "smaller budgets"),
    ],
)
def test_what_a_user_can_act_on_is_told(error, words, capsys):
    text = message(error)
    assert text is not None
    assert words in text
    assert report(error)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("bug"), OSError("without a number")])
def test_anything_else_is_not(error, capsys):
    assert message(error) is None
    assert not report(error)
    assert capsys.readouterr().err == ""
