"""Errors as messages: what a user can act on is told in words, anything else keeps its traceback."""

from __future__ import annotations

import errno
import re

import typer

from lzr2.errors import Lzr2Error
from streamer.errors import StreamerError, printable

_CUDA = re.compile(r"CUDA error|CUDA driver|cuDNN|CUBLAS|no kernel image is available", re.IGNORECASE)
_NO_MEMORY = re.compile(r"allocate memory|CUDA error: out of memory|_ALLOC_FAILED")

_MEMORY = "There isn't enough memory. Use smaller budgets, or a smaller picture."
_TOLD_ELSEWHERE = (None, errno.EPIPE, errno.ENOMEM)  # a closed pipe ends the program quietly: click sees to that
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def message(error: Exception) -> str | None:
    """What to tell the user, or None if the error isn't one that they can act on."""
    if isinstance(error, (StreamerError, Lzr2Error)):
        return str(error)
    if isinstance(error, OSError) and error.errno not in _TOLD_ELSEWHERE:
        return f"{printable(str(error), 1000)}\n{_advice(error)}"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return _MEMORY
    if _is_torchs_memory_error(error):
        return _MEMORY
    if isinstance(error, RuntimeError) and _CUDA.search(str(error)):
        return _cuda_message(error)
    return None


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "Free some space, or use another disk."
    if error.errno in _FORBIDDEN:
        return "Check who may use that path, or use another."
    if error.errno in _TOO_MANY:
        return "Close other programs, or raise the limit on open files (ulimit -n)."
    return "Check the path, and the disk or network that it is on."


def _cuda_message(error: RuntimeError) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"The device failed: {printable(first)}\nRun `streamer doctor`: it tells what is wrong with it."
    if "no kernel image is available" not in str(error):
        return text
    from streamer.bench.checks import FOR_OLD_GPUS  # loads torch, which is there if this was raised

    return f"{text}\nThis torch has no code for it. {FOR_OLD_GPUS}"


def _is_torchs_memory_error(error: Exception) -> bool:
    """Known by name and words: torch isn't imported for an error that may have nothing to do with it."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None
    )


def report(error: Exception) -> bool:
    """Prints the error to the standard error if it has a message. Returns whether it had."""
    text = message(error)
    if text is None:
        return False
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(text, err=True)
    return True
