"""``streamer encode``: weights to LZR2."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.work_progress import WorkProgress
from streamer.config import format_size, parse_size
from streamer.errors import SettingError
from streamer.processors import processors


def encode(
    weights: Annotated[Path, typer.Argument(help="Safetensors (a file, or a folder of shards) or LZR2.", metavar="IN")],
    output: Annotated[Path, typer.Argument(help="The LZR2 file to write.", metavar="OUT")],
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Every weight exactly as in float16. The default.")
    ] = False,
    overlay_fraction: Annotated[
        float | None, typer.Option(help="Share of the weights kept exactly, 0 to 1; the rest is on three values a row.")
    ] = None,
    max_error: Annotated[float | None, typer.Option(help="Largest error that a weight may keep.")] = None,
    size: Annotated[str | None, typer.Option(help="Most bytes of the file: 3GB.", metavar="SIZE")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Tensors at once. Default: one a core.", min=1, max=64)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Encode weights as LZR2: losslessly as float16, or under one limit.

    The file appears when it is complete; interrupted (Ctrl-C, or asked to end), nothing is left of it. A few tensors
    are in memory at a time. Where OUT is a symbolic link, its target is written.

    Tensors that are no weights (positions and counters: 64-bit whole numbers) and those without dimensions, which LZR2
    has no place for, are left out and named. Quantised weights are an error.

    Exit code 0: the file is there. 2: it isn't, and the message says why. 130, or 143 if told to end: interrupted.
    """
    limits = [lossless or None, overlay_fraction, max_error, size]
    if sum(limit is not None for limit in limits) > 1:
        raise SettingError("One of --lossless, --overlay-fraction, --max-error and --size can be kept to, not several.")
    most_nbytes = parse_size(size) if size is not None else None
    require_other_file(weights, output)
    from streamer.convert.encode import encode as encode_source
    from streamer.convert.selection import without_the_rest
    from streamer.models.weights import open_file

    started = time.perf_counter()
    with ExitStack() as stack:
        source = open_file(weights, "auto")
        stack.callback(source.close)
        source = without_the_rest(source, partial(typer.echo, err=True))
        total = sum(source.info(key).weights * 2 for key in source.keys())
        progress = stack.enter_context(WorkProgress(f"Encoding {weights.name}", total, quiet=quiet))
        done = encode_source(
            source,
            output,
            overlay_fraction=overlay_fraction,
            max_error=max_error,
            nbytes=most_nbytes,
            jobs=jobs or processors(),
            on_bytes=progress.advance,
        )
    seconds = time.perf_counter() - started
    nbytes, weight_count = output.stat().st_size, max(done.weights, 1)
    typer.echo(
        f"{output}: {done.tensors:,} tensors, {done.weights:,} weights in {nbytes:,} bytes, "
        f"{nbytes / weight_count:.2f} bytes a weight, {done.overlay_entries / weight_count:.1%} in the overlay; "
        f"{seconds:.1f} s, {format_size(2 * done.weights / max(seconds, 1e-9))}/s of float16"
    )
    if done.infinite:
        typer.echo(f"{done.infinite:,} weights are infinite in float16, which ends at 65,504.", err=True)


def require_other_file(source: Path, output: Path) -> None:
    """Returns only if the output isn't what is read, and can be a file.

    Raises:
        SettingError: it is, or it is a directory, a pipe or a device.
    """
    if output.is_dir():
        raise SettingError(f"{output} is a directory.", f"Name a file: {output / source.with_suffix('').name}...")
    if output.exists() and not output.is_file():
        raise SettingError(f"{output} is a pipe or a device, which a file can't replace.", "Name a file.")
    if output.exists() and source.exists() and output.samefile(source):
        raise SettingError(f"{output} would be written over while it is read.", "Name another file.")
