"""Closing several things of which one may fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable


def close_all(*closes: Callable[[], object]) -> None:
    """Each is called, in this order, whatever those before raise; then an interrupt is raised, or the first error."""
    first: BaseException | None = None
    for close in closes:
        try:
            close()
        except BaseException as error:  # noqa: BLE001 - raised below
            if first is None or (isinstance(first, Exception) and not isinstance(error, Exception)):
                first = error
    try:
        if first is not None:
            raise first
    finally:
        del first  # else it and its traceback keep each other alive, with all that was to be closed


def close_after_failure(*closes: Callable[[], object]) -> None:
    """As `close_all`, after a failure that is about to be raised: further errors don't take its place."""
    with contextlib.suppress(Exception):
        close_all(*closes)
