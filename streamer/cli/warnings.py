"""What a user should know although it is no error: told at once, however quiet, and kept for the summary."""

from __future__ import annotations

from collections.abc import Iterator

import typer


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
