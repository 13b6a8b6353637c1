"""``streamer verify``: everything there is to know about an LZR2 file's health."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.cli.work_progress import WorkProgress
from streamer.errors import printable

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

    Exit code 0: every tensor can be read. 1: there are errors (with --strict: or findings).
    """
    import lzr2

    with ExitStack() as stack:
        reference = None
        if against is not None:
            from streamer.convert.arrays import SourceArrays
            from streamer.models.weights import open_file

            source = open_file(against, "auto")
            stack.callback(source.close)
            reference = SourceArrays(source)
        progress = stack.enter_context(WorkProgress(f"Verifying {file.name}", quiet=quiet))
        report = lzr2.verify(file, reference, threads=os.cpu_count() or 1, on_bytes=progress.reach)
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
        if entry.comparison is not None:  # JSON has no infinity
            numbers = described["comparison"]
            described["comparison"] = {
                name: value if not isinstance(value, float) or math.isfinite(value) else None
                for name, value in numbers.items()
            }
        return described

    return {
        "file": report.path,
        "ok": ok,
        "checksums": report.checksums,
        "findings": [asdict(finding) for finding in report.file_findings],
        "records": [record(entry) for entry in report.records],
    }


def _show(report: Report) -> None:
    compared = [entry for entry in report.records if entry.comparison is not None]
    if compared:
        _show_comparison(report)
    for finding in report.findings[:_LISTED]:
        typer.echo(_line(finding))
    kinds = Counter(f"{finding.severity}: {finding.kind}" for finding in report.findings)
    if len(report.findings) > _LISTED:
        typer.echo(f"... and {len(report.findings) - _LISTED} more; --json has all of them. By kind:")
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
