"""``streamer export``: LZR2 to safetensors."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.encode import require_other_file
from streamer.cli.work_progress import WorkProgress
from streamer.config import parse_size
from streamer.errors import SettingError


def export(
    file: Annotated[Path, typer.Argument(help="An LZR2 file (or safetensors).", metavar="IN")],
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.", metavar="OUT")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            "-k",
            help="Only tensors whose key fits this: 'down_blocks.*'. With *, ? and [abc] as in a shell; '[[]' is a '[' "
            "itself. May be given again.",
        ),
    ] = None,
    shard_size: Annotated[
        str, typer.Option(help="Larger weights go into several files, as the hub has them.", metavar="SIZE")
    ] = "5GB",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write weights as safetensors in float16, bit for bit; one tensor is in memory at a time.

    The files appear when all of them are complete, and replace those of an earlier export to OUT; interrupted (Ctrl-C,
    or asked to end) before, nothing has changed. Where OUT is a symbolic link, its target is written. Positions and
    counters (64-bit whole numbers) in a safetensors file are left out and named; quantised weights are an error.

    Exit code 0: the files are there. 2: they aren't, and the message says why. 130, or 143 if told to end: interrupted.
    """
    shard_nbytes = parse_size(shard_size)
    require_other_file(file, output)
    _require_other_shards(file, output)
    from streamer.convert.export import export as export_source
    from streamer.convert.export import selected_nbytes
    from streamer.models.weights import open_file

    keys = tuple(key or ())
    with ExitStack() as stack:
        source = open_file(file, "auto")
        stack.callback(source.close)
        total = selected_nbytes(source, keys)
        progress = stack.enter_context(WorkProgress(f"Exporting {file.name}", total, quiet=quiet))
        written = export_source(
            source,
            output,
            keys=keys,
            shard_nbytes=shard_nbytes,
            on_bytes=progress.advance,
            warn=partial(typer.echo, err=True),
        )
    for path in written:
        typer.echo(f"{path}: {path.stat().st_size:,} bytes")


def _require_other_shards(source: Path, output: Path) -> None:
    """Returns only if nothing that is read is a file that the export may write or remove.

    Raises:
        SettingError: something is: the output itself, in a folder that is read, or one of its shards.
        WeightsFileError: the folder to read has no weights.
    """
    from streamer.convert.shards import is_shard
    from streamer.models.weight_files import files_of_folder

    place = output.resolve()
    for path in files_of_folder(source) if source.is_dir() else (source,):
        if path.resolve() == place or is_shard(place, path.resolve().parent / path.name):
            raise SettingError(f"{path} may be written over while it is read.", "Name another output.")
