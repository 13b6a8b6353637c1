"""``streamer index``: the byte-offset index of an LZR2 file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.work_progress import WorkProgress
from streamer.config import format_size


def index(
    file: Annotated[Path, typer.Argument(help="An LZR2 file.", metavar="FILE")],
    checksum: Annotated[
        bool,
        typer.Option("--checksum", help="Also take a checksum of each record (reads the file); decoding compares it."),
    ] = False,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Build or refresh the index of an LZR2 file: where each record's sections lie.

    Checksums that there are stay, and are compared, until --checksum takes them anew: after a change that was meant.
    """
    import lzr2

    with WorkProgress(f"Checksums of {file.name}", quiet=quiet) as progress:
        built = lzr2.Index.open(file, checksum=checksum, anew=checksum, on_bytes=progress.reach)
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
                    "checksums": built.has_checksums,
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
    sums = ", with checksums" if built.has_checksums else ""
    typer.echo(f"index {where} in {built.seconds:.3f} s, {format_size(built.bytes_read)} read{sums}")
