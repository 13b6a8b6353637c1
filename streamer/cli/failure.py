"""Errors as messages: what a user can act on is told in words, anything else keeps its traceback."""

from __future__ import annotations

import errno

import typer

from lzr2.errors import Lzr2Error
from streamer.errors import StreamerError

_ACTIONABLE = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR,
               errno.ENAMETOOLONG, errno.EEXIST, errno.EIO, errno.EDQUOT}  # fmt: skip


def message(error: Exception) -> str | None:
    """What to tell the user, or None if the error isn't one that they can act on."""
    if isinstance(error, (StreamerError, Lzr2Error)):
        return str(error)
    if isinstance(error, OSError) and error.errno in _ACTIONABLE:
        return str(error)
    if isinstance(error, MemoryError) or _is_torchs_memory_error(error):
        return "There isn't enough memory. Use smaller budgets, or a smaller picture."
    return None


def _is_torchs_memory_error(error: Exception) -> bool:
    """Known by name and words: torch isn't imported for an error that may have nothing to do with it."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def report(error: Exception) -> bool:
    """Prints the error to the standard error if it has a message. Returns whether it had."""
    text = message(error)
    if text is None:
        return False
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(text, err=True)
    return True
