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
        *[
            (OSError(getattr(errno, name), "Refused", "x.png"), "x.png")
            for name in ("EFBIG", "EINVAL", "ELOOP", "ESTALE", "ETIMEDOUT", "EMFILE", "EBUSY", "ENODEV")
            if hasattr(errno, name)
        ],
        (RuntimeError("CUDA error: out of memory"), "smaller budgets"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "smaller budgets"),
        (OSError(errno.EFBIG, "File too large"), "Check the path"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EROFS, "Read-only file system", "x.png"), "use another"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "smaller budgets"),
        (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might ..."), "streamer doctor"),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), "CUDA 12.6 build"),
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


def test_only_a_torch_without_code_for_the_device_is_told_to_be_replaced():
    assert "12.6" not in str(message(RuntimeError("CUDA error: unspecified launch failure")))


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), RuntimeError("bug"), OSError("without a number"), BrokenPipeError(errno.EPIPE, "")]
)
def test_anything_else_is_not(error, capsys):
    assert message(error) is None
    assert not report(error)
    assert capsys.readouterr().err == ""
