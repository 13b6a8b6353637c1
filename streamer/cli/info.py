"""``streamer info``: what is in a weight file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size

from streamer.errors import printable


def info(
    file: Annotated[Path, typer.Argument(help="An LZR2 or safetensors file.", metavar="FILE")],
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what is in a weight file: every tensor with its shape, weights and bytes."""
    from streamer.models.weights import open_file

    source = open_file(file, "auto")
    try:
        given = {key: source.info(key) for key in source.keys()}
        silent = [(key, shape) for key, shape in source.mentioned() if key not in given]
    finally:
        source.close()
    weights = sum(entry.weights for entry in given.values())
    stored = sum(entry.stored_nbytes for entry in given.values())
    if json_line:
        tensors = [{"key": key, "shape": row.shape, "stored_nbytes": row.stored_nbytes} for key, row in given.items()]
        without = [{"key": key, "shape": shape} for key, shape in silent]
        typer.echo(
            json.dumps(
                {
                    "file": str(file),
                    "weights": weights,
                    "stored_nbytes": stored,
                    "tensors": tensors,
                    "without_values": without,
                }
            )
        )
        return
    rows = [(key, entry.shape, entry.weights, entry.stored_nbytes) for key, entry in given.items()]
    _print([*rows, *((key, shape, 0, None) for key, shape in silent)])
    typer.echo(
        f"{len(given):,} tensors, {weights:,} weights, {stored:,} bytes, {stored / max(weights, 1):.2f} bytes a weight"
        + (f"; {len(silent):,} named without values" if silent else "")
    )


def _print(rows: list[tuple[str, tuple[int, ...], int, int | None]]) -> None:
    """As wide as it has to be: keys that are cut can't be told apart."""
    cells = [("tensor", "shape", "weights", "bytes", "bytes a weight")]
    for key, shape, weights, stored in rows:
        cells.append(
            (
                printable(key),
                " x ".join(str(n) for n in shape),
                f"{weights:,}" if stored is not None else "no values",
                f"{stored:,}" if stored is not None else "-",
                f"{stored / weights:.2f}" if stored is not None and weights else "-",
            )
        )
    # By hand: a strangers' file may have many thousand rows, and a table of them takes a library a third of a ms each.
    widths = [max(cell_len(row[column]) for row in cells) for column in range(5)]
    for row in cells:
        left = [set_cell_size(text, width) for text, width in zip(row[:2], widths, strict=False)]
        typer.echo("  ".join([*left, *(text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))]))
