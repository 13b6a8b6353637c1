"""What a user should know although it is no error: told at once, however quiet, and kept for the summary."""

from __future__ import annotations

import warnings as of_python
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

_OURS = Path(__file__).resolve().parent.parent


class Warnings:
    """Tells each line once, on the standard error, and keeps it."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def tell(self, line: str) -> None:
        """Prints the line unless it was printed before."""
        if line not in self._lines:
            self._lines[line] = None
            typer.echo(line, err=True)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))


@contextmanager
def told_through(warnings: Warnings) -> Iterator[None]:
    """What this package warns of by Python's own means is told as everything else is; others' is left to Python.

    Args:
        warnings: that tell it.
    """
    before = of_python.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: object, **named: object) -> None:
        if issubclass(category, (UserWarning, RuntimeWarning)) and _OURS in Path(filename).resolve().parents:
            warnings.tell(str(message))
        else:
            before(message, category, filename, *rest, **named)  # type: ignore[arg-type]

    of_python.showwarning = show
    try:
        yield
    finally:
        of_python.showwarning = before
