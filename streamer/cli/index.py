"""``streamer index``: the byte-offset index of an LZR2 file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamer.config import format_size


def index(
    file: Annotated[Path, typer.Argument(help="An LZR2 file.", metavar="FILE")],
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Build or refresh the index of an LZR2 file: where each record's sections lie."""
    import lzr2

    built = lzr2.Index.open(file)
    sections = built.section_nbytes()
    if json_line:
        typer.echo(
            json.dumps(
                {
                    "file": str(file),
                    "file_nbytes": built.file_nbytes,
                    "index": str(built.sidecar_path) if built.sidecar_path else None,
                    "from_sidecar": built.from_sidecar,
                    "records": len(built.records),
                    "weights": built.n_weights,
                    "section_nbytes": sections,
                    "seconds": round(built.seconds, 4),
                    "read_nbytes": built.bytes_read,
                }
            )
        )
        return
    typer.echo(f"{file}: {built.file_nbytes:,} bytes, {len(built.records):,} records, {built.n_weights:,} weights")
    for name, nbytes in sections.items():
        typer.echo(f"  {name:<10}{nbytes:>18,} bytes  {nbytes / max(built.file_nbytes, 1):>6.1%}")
    how = "taken from" if built.from_sidecar else "built and saved to"
    where = (
        f"{how} {built.sidecar_path}" if built.sidecar_path else "built, but saved nowhere: no folder can be written"
    )
    typer.echo(f"index {where} in {built.seconds:.3f} s, {format_size(built.bytes_read)} read")
