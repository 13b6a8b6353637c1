"""Tables, sizes and seconds as every command shows them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from streamer.config import UNLIMITED, format_size
from streamer.errors import smallest_size_text


def new_table(*columns: str) -> Table:
    """A table without lines; all but the first column are numbers, to the right."""
    made = Table(*columns, box=None, pad_edge=False)
    for column in made.columns[1:]:
        column.justify = "right"
    return made


def print_table(shown: Table) -> None:
    """As wide as it has to be: names that are cut can't be told apart."""
    console = Console()
    wide = Console(width=1000)
    console.width = max(console.width, wide.measure(shown).maximum)
    console.print(shown)


def size_text(nbytes: float) -> str:
    """The size, or a dash for nothing."""
    return format_size(nbytes) if nbytes else "-"


def budget_text(nbytes: int) -> str:
    """As a person would type it, rounded up so that it is enough."""
    return "unlimited" if nbytes >= UNLIMITED else smallest_size_text(nbytes)


def seconds_text(seconds: float) -> str:
    """Seconds from one on, milliseconds below."""
    if seconds >= 1:
        return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms"
