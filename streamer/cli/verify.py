"""``streamer verify``: everything there is to know about an LZR2 file's health."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.cli.work_progress import WorkProgress
from streamer.errors import printable
from streamer.processors import processors

if TYPE_CHECKING:
    from lzr2.verify import Finding, Report

_LISTED = 20


def verify(
    file: Annotated[Path, typer.Argument(help="An LZR2 file.", metavar="FILE")],
    against: Annotated[
        Path | None,
        typer.Option(help="Weights that it should hold: safetensors (a file or folder) or LZR2.", metavar="FILE"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Findings are errors too.")] = False,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Check every record of an LZR2 file: errors, oddities, and how close it is to other weights.

    An error means that a tensor can't be read; a finding, that it is read in a way its writer may not have meant.
    If the file's index has checksums ('streamer index --checksum'), they are compared.

    With --against, a tensor that isn't exactly the reference's float16 values, or that only one of the two has, is a
    finding; another shape, or nothing at all to compare, is an error. What LZR2 can't hold isn't compared, but named.

    In the JSON, numbers that aren't finite are texts: an snr_db of "Infinity" is an exact tensor's, "-Infinity" that of
    one with an infinite error, or whose reference is all zero or isn't finite.

    Exit code 0: every tensor can be read, and with --against some were compared. 1: there are errors (with --strict: or
    findings, so 0 means that all is exact). 2: a file isn't there, or the reference can't be used. 130: interrupted.
    """
    import lzr2

    with ExitStack() as stack:
        reference = None
        if against is not None:
            from streamer.convert.arrays import SourceArrays
            from streamer.convert.selection import without_the_rest
            from streamer.models.weights import open_file

            source = open_file(against, "auto")
            stack.callback(source.close)
            reference = SourceArrays(without_the_rest(source, partial(typer.echo, err=True)))
        progress = stack.enter_context(WorkProgress(f"Verifying {file.name}", quiet=quiet))
        report = lzr2.verify(file, reference, threads=processors(), on_bytes=progress.reach)
    if reference is not None:
        from streamer.convert.compared import with_differences

        report = with_differences(report, reference)
    ok = report.ok(strict=strict)
    if json_line:
        typer.echo(json.dumps(_as_json(report, ok=ok)))
    else:
        _show(report)
    if not ok:
        raise typer.Exit(1)


def _as_json(report: Report, *, ok: bool) -> dict[str, Any]:
    def record(entry: Any) -> dict[str, Any]:
        described = asdict(entry)
        if entry.comparison is not None:
            described["comparison"] = {name: _number(value) for name, value in described["comparison"].items()}
        return described

    return {
        "file": report.path,
        "ok": ok,
        "checksums": report.checksums,
        "findings": [asdict(finding) for finding in report.file_findings],
        "records": [record(entry) for entry in report.records],
    }


def _number(value: float) -> float | str:
    """JSON has no infinity; this is how others write it there, and what most languages read as one."""
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _show(report: Report) -> None:
    compared = [entry for entry in report.records if entry.comparison is not None]
    if compared:
        _show_comparison(report)
    told = [finding for finding in report.findings if finding.kind != "differs"]  # the table has shown those
    for finding in told[:_LISTED]:
        typer.echo(_line(finding))
    kinds = Counter(f"{finding.severity}: {finding.kind}" for finding in told)
    if len(told) > _LISTED:
        typer.echo(f"... and {len(told) - _LISTED} more; --json has all of them. By kind:")
        for kind, count in kinds.most_common():
            typer.echo(f"  {count:>7,}  {kind}")
    errors = sum(finding.severity == "error" for finding in report.findings)
    weights = sum(entry.n_weights for entry in report.records)
    sums = "checksums compared" if report.checksums else "no checksums to compare"
    typer.echo(
        f"{report.path}: {len(report.records):,} records, {weights:,} weights, {errors:,} errors, "
        f"{len(report.findings) - errors:,} findings, {sums}"
    )


def _show_comparison(report: Report) -> None:
    table = Table("tensor", "differ", "max error", "SNR", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    exact = different = 0
    for entry in report.records:
        compared = entry.comparison
        if compared is None:
            continue
        exact += compared.exact
        if not compared.exact:
            different += 1
            table.add_row(
                Text(printable(entry.key)),
                f"{compared.n_different / max(entry.n_weights, 1):.1%}",
                f"{compared.max_error:.3g}",
                f"{compared.snr_db:.1f} dB",
            )
    if different:
        Console().print(table)
    alone = len(report.records) - exact - different
    typer.echo(
        f"{exact:,} tensors are exact, {different:,} differ"
        + (f", {alone:,} have nothing to compare with" if alone else "")
    )


def _line(finding: Finding) -> str:
    if finding.severity == "error":
        return f"error: {finding.text}"
    where = "" if finding.key is None else f"'{printable(finding.key)}': "
    return f"finding: {where}{finding.text}"
