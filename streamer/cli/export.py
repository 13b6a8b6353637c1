"""``streamer export``: LZR2 to safetensors."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.encode import require_other_file
from streamer.cli.work_progress import WorkProgress
from streamer.config import parse_size


def export(
    file: Annotated[Path, typer.Argument(help="An LZR2 file (or safetensors).", metavar="IN")],
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.", metavar="OUT")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", help="Only tensors that fit this: 'down_blocks.*'. May be given again."),
    ] = None,
    shard_size: Annotated[
        str, typer.Option(help="Larger weights go into several files, as the hub has them.", metavar="SIZE")
    ] = "5GB",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write weights as safetensors in float16, bit for bit; one tensor is in memory at a time.

    Each file appears when it is complete.
    """
    shard_nbytes = parse_size(shard_size)
    require_other_file(file, output)
    from streamer.convert.export import export as export_source
    from streamer.convert.export import selected_nbytes
    from streamer.models.weights import open_file

    keys = tuple(key or ())
    with ExitStack() as stack:
        source = open_file(file, "auto")
        stack.callback(source.close)
        total = selected_nbytes(source, keys)
        progress = stack.enter_context(WorkProgress(f"Exporting {file.name}", total, quiet=quiet))
        written = export_source(source, output, keys=keys, shard_nbytes=shard_nbytes, on_bytes=progress.advance)
    for path in written:
        typer.echo(f"{path}: {path.stat().st_size:,} bytes")
