"""``streamer bench decode``: how fast a file's own records become weights, on one thread and on several."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamer.cli.storage_report import rate_text
from streamer.cli.tables import new_table, print_table, seconds_text, size_text
from streamer.config import parse_size
from streamer.processors import processors

if TYPE_CHECKING:
    from streamer.bench.decode_speed import DecodeReport


def decode(
    file: Annotated[Path, typer.Argument(help="An LZR2 file.", metavar="FILE")],
    threads: Annotated[
        int | None, typer.Option(help="Up to so many at once. Default: the processors.", min=1, max=64)
    ] = None,
    size: Annotated[str, typer.Option(help="Most to decode in one round, as float16.", metavar="SIZE")] = "128MB",
    rounds: Annotated[int, typer.Option(help="In which all forms take turns.", min=1, max=100)] = 3,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Measure how fast the file's records are decoded: from the file, and from the form that host memory keeps.

    Every record that is timed is first compared, bit for bit, with what plain numpy makes of it by the format's
    definition. The file's bytes are in the page cache: `streamer bench storage` measures where they come from.

    Examples:

      streamer bench decode sdxl.lzr2

      streamer bench decode sdxl.lzr2 --threads 4 --size 1GB --json
    """
    import lzr2
    from streamer.bench.decode_speed import decode_speed, thread_counts

    most = parse_size(size)
    say = partial(Console(stderr=True).print, markup=False, highlight=False, soft_wrap=True)
    with lzr2.open(file) as opened:
        counts = thread_counts(threads or min(64, processors()))
        report = decode_speed(opened, most, counts, rounds, say)
    if json_line:
        typer.echo(json.dumps(_as_json(file, report)))
    else:
        _print(report)


def _print(report: DecodeReport) -> None:
    typer.echo(
        f"{len(report.keys)} of {report.records} records, {report.weights:,} weights: "
        f"{size_text(report.stored_nbytes)} in the file, {size_text(report.inflated_nbytes)} inflated, "
        f"{size_text(2 * report.weights)} as float16. "
        "All forms give the weights of the format's plain arithmetic, bit for bit."
    )
    table = new_table("form", "threads", "a round", "float16", "of the file", "to one thread", "to plain numpy")
    for one in report.speeds:
        plain = report.against_plain(one)
        table.add_row(
            one.form,
            str(one.threads),
            seconds_text(one.typical),
            rate_text(report.output_rate(one)),
            rate_text(report.stored_rate(one)),
            f"{report.scaling(one):.2f} x",
            "-" if plain is None else f"{plain:.1f} x",
        )
    print_table(table)
    typer.echo(
        "Medians. Float16: weights that come out, two bytes each, whatever they are written as. "
        "Of the file: what a storage has to give for that."
    )


def _as_json(file: Path, report: DecodeReport) -> dict[str, object]:
    """In bytes and seconds."""
    return {
        "file": str(file),
        "records": report.records,
        "decoded_records": len(report.keys),
        "stored_nbytes": report.stored_nbytes,
        "weights": report.weights,
        "inflated_nbytes": report.inflated_nbytes,
        "plain_seconds": report.plain_seconds,
        "speeds": [
            {
                "form": one.form,
                "threads": one.threads,
                "seconds": list(one.seconds),
                "output_rate": report.output_rate(one),
                "stored_rate": report.stored_rate(one),
                "to_one_thread": report.scaling(one),
                "to_plain_numpy": report.against_plain(one),
            }
            for one in report.speeds
        ],
    }
