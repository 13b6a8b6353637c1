"""What was found about storages as tables, as JSON and as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from streamer.cli.tables import budget_text, new_table, print_table, seconds_text, size_text
from streamer.config import UNLIMITED
from streamer.errors import printable, smallest_size_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from streamer.bench.storage_measure import StorageReport
    from streamer.bench.storage_read import ReadSpeed
    from streamer.bench.storage_steps import StepsOutlook, StorageStep


@dataclass(frozen=True)
class StepsOn:
    """Steps with the weights on one storage.

    Attributes:
        name: of the storage: the path, or what was emulated.
        disk: bytes a second.
        steps: by ascending budget.
    """

    name: str
    disk: float
    steps: tuple[StorageStep, ...]


@dataclass
class Found:
    """All that was found.

    Attributes:
        reports: of real storages.
        emulated: by name: bytes a second that it should be, and reads.
        outlook: of the model; None: no weights were given.
        steps: on each storage whose speed is known.
    """

    reports: list[StorageReport] = field(default_factory=list)
    emulated: dict[str, tuple[float, tuple[ReadSpeed, ...]]] = field(default_factory=dict)
    outlook: StepsOutlook | None = None
    steps: list[StepsOn] = field(default_factory=list)


def rate_text(rate: float | None) -> str:
    """Bytes a second for a person."""
    return "-" if rate is None else f"{rate / 1e6:,.0f} MB/s"


def print_storages(found: Found) -> None:
    """A table for each storage, what couldn't be measured, and the steps."""
    for report in found.reports:
        _print_report(report)
    if found.emulated:
        _print_emulated(found)
    if found.outlook is not None:
        _print_steps(found, found.outlook)


def _print_report(report: StorageReport) -> None:
    from streamer.bench.storage_kind import StorageKind

    typer.echo(f"{printable(str(report.path))}, {size_text(report.nbytes)}: {report.storage.text()}")
    table = new_table("reader", "reads", "threads", "page cache", "read", "speed")
    for one in report.reads:
        state = "unread" if one.problem else _cache_text(one)
        table.add_row(one.method, one.pattern, str(one.threads), state, size_text(one.nbytes), rate_text(one.rate))
    print_table(table)
    for problem in {f"{one.method}: {one.problem}." for one in report.reads if one.problem}:
        typer.echo(problem)
    if report.not_cold:
        typer.echo(
            f"For {len(report.not_cold)} of the measurements above the page cache could not be dropped, or the system "
            "doesn't tell: those are no speeds of the storage."
        )
    if report.storage.caches_apart:
        typer.echo(f"{report.storage.filesystem} has a cache of its own, which can't be asked what it keeps.")
    behind = {StorageKind.VIRTUAL: "A virtual disk's host", StorageKind.NETWORK: "A server"}.get(report.storage.kind)
    if behind is not None and report.disk is not None:
        typer.echo(f"{behind} may have had the file in its memory: that can't be seen from here.")
    if report.disk is None:
        typer.echo("Nothing could be read cold here: how fast this storage is remains unknown.")
    typer.echo()


def _cache_text(one: ReadSpeed) -> str:
    if one.method == "direct" and one.cold:
        return "passed by"
    if one.resident_before is None:
        return "unknown"
    return "cold" if one.cold else f"{one.resident_before:.0%} was there"


def _print_emulated(found: Found) -> None:
    table = new_table("emulated", "reads", "threads", "read", "should be", "measured")
    for name, (speed, reads) in found.emulated.items():
        for one in reads:
            row = (one.pattern, str(one.threads), size_text(one.nbytes), rate_text(speed), rate_text(one.rate))
            table.add_row(Text(printable(name)), *row)
    print_table(table)
    typer.echo()


def _print_steps(found: Found, outlook: StepsOutlook) -> None:
    size, stored, seconds = outlook.size, outlook.stored_nbytes, outlook.decode_seconds
    typer.echo(
        f"{outlook.forecast.source.label}, {size.width} x {size.height}, batch {size.shape.batch}. One thread decodes "
        f"its {size_text(stored)} in {seconds_text(seconds)}: {rate_text(stored / seconds if seconds else None)}."
    )
    from streamer.bench.storage_steps import advice

    table = new_table(
        "storage", "speed", "budget", "read a step", "predicted", "measured", "off by", "cached", "bound by"
    )
    told = []
    for one in found.steps:
        for step in one.steps:
            expected = step.outlook.prediction
            measured = None if step.run is None else step.run.steps.step_seconds
            table.add_row(
                Text(printable(one.name)),
                rate_text(one.disk),
                budget_text(step.budget_nbytes),
                size_text(expected.disk_nbytes),
                seconds_text(expected.step_seconds),
                "-" if measured is None else seconds_text(measured),
                "-" if measured is None else f"{expected.step_seconds / measured - 1:+.0%}",
                seconds_text(step.cached.prediction.step_seconds),
                expected.bound,
            )
        best = advice(one.steps, one.disk, outlook.forecast, outlook.free)
        keep = f" --ram-budget {smallest_size_text(best.ram_nbytes)}" if best.ram_nbytes else ""
        told.append(
            f"{printable(one.name)}: --vram-budget {budget_text(best.vram_nbytes)}{keep}: "
            f"{seconds_text(best.step_seconds)} a step from the storage, {seconds_text(best.cached_seconds)} cached."
            + (" What is kept in memory isn't read again." if keep else "")
        )
    if not found.steps:
        typer.echo("No storage's speed is known, so nothing can be predicted; --emulate says one.")
        return
    print_table(table)
    typer.echo("Predicted: what streams comes from the storage in every step. Cached: the page cache has it all.")
    typer.echo("\nRecommended, the smallest budget that isn't much slower than the fastest:")
    for line in told:
        typer.echo(f"  {line}")


def print_json(found: Found) -> None:
    """Everything in one line, in bytes and seconds."""
    typer.echo(
        json.dumps(
            {
                "storages": [
                    {
                        "path": str(report.path),
                        "nbytes": report.nbytes,
                        "kind": report.storage.kind.value,
                        "filesystem": report.storage.filesystem,
                        "device": report.storage.device,
                        "disk": report.disk,
                        "not_cold": len(report.not_cold),
                        "reads": [_read_json(one) for one in report.reads],
                    }
                    for report in found.reports
                ],
                "emulated": [
                    {"name": name, "disk": speed, "reads": [_read_json(one) for one in reads]}
                    for name, (speed, reads) in found.emulated.items()
                ],
                "steps": [_steps_json(one, found.outlook) for one in found.steps if found.outlook is not None],
            }
        )
    )


def _read_json(one: ReadSpeed) -> dict[str, Any]:
    return {
        "method": one.method,
        "pattern": one.pattern,
        "threads": one.threads,
        "nbytes": one.nbytes,
        "seconds": one.seconds,
        "rate": one.rate,
        "resident_before": one.resident_before,
        "cold": one.cold,
        "problem": one.problem,
    }


def _steps_json(one: StepsOn, outlook: StepsOutlook) -> dict[str, Any]:
    from streamer.bench.storage_steps import advice

    best = advice(one.steps, one.disk, outlook.forecast, outlook.free)
    return {
        "name": one.name,
        "disk": one.disk,
        "stored_nbytes": outlook.stored_nbytes,
        "decode_seconds": outlook.decode_seconds,
        "recommended": {
            "vram_budget": best.vram_nbytes,
            "ram_budget": best.ram_nbytes,
            "step_seconds": best.step_seconds,
            "cached_seconds": best.cached_seconds,
        },
        "budgets": [
            {
                "vram_budget": step.budget_nbytes,
                "disk_nbytes": step.outlook.prediction.disk_nbytes,
                "predicted_seconds": step.outlook.prediction.step_seconds,
                "cached_seconds": step.cached.prediction.step_seconds,
                "measured_seconds": None if step.run is None else step.run.steps.step_seconds,
                "bound": step.outlook.prediction.bound,
            }
            for step in one.steps
        ],
    }


def draw(found: Found) -> Image:
    """Step time against budget: a line for each storage as predicted, and dots where it was measured."""
    from streamer.bench.budget_plot import MORE, PREDICTED, Series, draw_budgets

    series = []
    for number, one in enumerate(found.steps):
        colour = (PREDICTED, *MORE)[number % (1 + len(MORE))]
        most = found.outlook.forecast.thresholds()[-1] if found.outlook is not None else UNLIMITED
        at = [float(min(step.budget_nbytes, most)) for step in one.steps]
        expected = tuple(step.outlook.prediction.step_seconds for step in one.steps)
        series.append(Series(printable(one.name)[-24:], colour, tuple(zip(at, expected, strict=True))))
        dots = tuple(
            (x, step.run.steps.step_seconds) for x, step in zip(at, one.steps, strict=True) if step.run is not None
        )
        if dots:
            series.append(Series("", colour, dots, marks=True))
    label = "" if found.outlook is None else found.outlook.forecast.source.label
    title = f"{label}, with nothing cached: predicted, and with dots measured"
    return draw_budgets(title, series)
