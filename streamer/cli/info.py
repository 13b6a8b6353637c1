"""``streamer info``: what is in a weight file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def info(
    file: Annotated[Path, typer.Argument(help="An LZR2 or safetensors file.", metavar="FILE")],
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what is in a weight file: every tensor with its shape, weights and bytes."""
    from streamer.models.weights import open_file

    source = open_file(file, "auto")
    try:
        rows = [(key, source.info(key)) for key in source.keys()]
    finally:
        source.close()
    weights = sum(row.weights for _, row in rows)
    stored = sum(row.stored_nbytes for _, row in rows)
    if json_line:
        tensors = [{"key": key, "shape": row.shape, "stored_nbytes": row.stored_nbytes} for key, row in rows]
        typer.echo(json.dumps({"file": str(file), "weights": weights, "stored_nbytes": stored, "tensors": tensors}))
        return
    table = Table("tensor", "shape", "weights", "bytes", "bytes a weight", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for key, row in rows:
        count = row.weights
        table.add_row(
            Text(key if key.isprintable() else ascii(key)[1:-1]),
            " x ".join(str(n) for n in row.shape),
            f"{count:,}",
            f"{row.stored_nbytes:,}",
            f"{row.stored_nbytes / count:.2f}" if count else "-",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{len(rows):,} tensors, {weights:,} weights, {stored:,} bytes, {stored / max(weights, 1):.2f} bytes a weight",
        highlight=False,
    )
