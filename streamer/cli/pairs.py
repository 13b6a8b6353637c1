"""Options with two values, as in ``--control MODEL IMAGE``, each as often as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer.core

from streamer.errors import SettingError

_BETWEEN = "\0"  # can be in no argument of a program
_PAIRS = {"--control": "MODEL IMAGE", "--ip-adapter": "FILE IMAGE"}


class PairedCommand(typer.core.TyperCommand):
    """A command whose options of two values reach it as one text each, for `split`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As for every command, with pairs joined."""
        return super().parse_args(ctx, joined(args))


def joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with the two values of each such option made one.

    Args:
        arguments: of the command; whatever follows ``--`` stays.

    Raises:
        SettingError: a value is missing.
    """
    made: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*made, argument, *rest]
        name, equals, value = argument.partition("=")
        if name not in _PAIRS:
            made.append(argument)
            continue
        values = [value] if equals else []
        while len(values) < 2 and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if len(values) < 2:
            raise SettingError(f"{name} needs two values: {name} {_PAIRS[name]}.")
        made += [name, _BETWEEN.join(values)]
    return made


def split(pair: str) -> tuple[str, str]:
    """The two values that `joined` made one."""
    first, _, second = pair.partition(_BETWEEN)
    return first, second
