"""A forecast as text and tables for a person, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from streamer.cli.tables import budget_text, new_table, print_table, seconds_text, size_text
from streamer.config import format_size
from streamer.errors import printable, smallest_size_text
from streamer.plan.explain import cycle_picture, rows, summary
from streamer.plan.thresholds import thinned

if TYPE_CHECKING:
    from streamer.bench.forecast import Forecast, Outlook

PACKS = "Blocks of LZR2 weights may move and stay packed there: then more stays, and less is copied."
"""To be said of what is predicted where `Forecast.packs`."""

_BUDGETS = 8
_PART = re.compile(r"(?:down_blocks|up_blocks)\.\d+|[^.]+")


def print_report(forecast: Forecast, budget_nbytes: int, width: int, height: int, *, by_block: bool) -> None:
    """Prints all there is to say about a budget, and a few lines about others.

    Args:
        forecast: of a model on this machine.
        budget_nbytes: most bytes of everything on the device.
        width: of the picture, pixels.
        height: of the picture, pixels.
        by_block: a row for each block instead of each part of the model.
    """
    outlook = forecast.at(budget_nbytes)
    typer.echo(
        f"Of {format_size(budget_nbytes)}, {format_size(forecast.beside_nbytes)} are for activations and the picture. "
        f"Of the U-Net: {summary(outlook.plan)}"
    )
    typer.echo(_host(outlook))
    typer.echo()
    typer.echo(cycle_picture(outlook.plan))
    typer.echo("# stays  . streams; one step from left to right, as wide as the blocks are large")
    typer.echo()
    print_table(_blocks_table(forecast, outlook, by_block))
    typer.echo()
    _print_prediction(forecast, outlook, width, height)
    typer.echo()
    print_table(_budgets_table(forecast, outlook))
    typer.echo(_changes(forecast))


def as_json(forecast: Forecast, budget_nbytes: int, width: int, height: int) -> dict[str, Any]:
    """Everything, in bytes and seconds.

    Args:
        forecast: of a model on this machine.
        budget_nbytes: most bytes of everything on the device.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    outlook = forecast.at(budget_nbytes)
    plan, prediction = outlook.plan, outlook.prediction
    at = forecast.compute.measured_at
    return {
        "vram_budget": budget_nbytes,
        "ram_budget": forecast.settings.ram_budget_nbytes,
        "width": width,
        "height": height,
        "beside_nbytes": forecast.beside_nbytes,
        "device_nbytes": plan.arena_nbytes,
        "resident_nbytes": plan.resident_nbytes,
        "streamed_nbytes": plan.streamed_nbytes,
        "held_nbytes": outlook.held_nbytes,
        "disk_nbytes": prediction.disk_nbytes,
        "double_buffered": plan.double_buffered,
        "cycle": cycle_picture(plan),
        "step_seconds": prediction.step_seconds,
        "first_step_seconds": prediction.first_step_seconds,
        "waited_seconds": prediction.waited_seconds,
        "bound": prediction.bound,
        "overlap": prediction.overlap,
        "limits": prediction.limits,
        "decode_seconds": prediction.decode_seconds,
        "flops": forecast.compute.flops,
        "compute_measured_at": None if at is None else [at.batch, at.height, at.width],
        "machine": {
            "cores": forecast.machine.cores,
            "compute_threads": forecast.machine.compute_threads,
            "workers": forecast.machine.workers,
            "link": forecast.machine.link,
            "disk": forecast.machine.disk,
        },
        "blocks": [
            {
                "name": row.name,
                "nbytes": row.nbytes,
                "stays": row.stays,
                "offset": row.offset,
                "turns": row.turns,
                "compute_seconds": compute,
                "stall_seconds": stall,
            }
            for row, compute, stall in _rows(forecast, outlook)
        ],
        "budgets": [_budget_json(forecast.at(nbytes)) for nbytes in thinned(forecast.thresholds(), _BUDGETS)],
        "thresholds": list(forecast.thresholds()),
    }


def _budget_json(outlook: Outlook) -> dict[str, Any]:
    return {
        "vram_budget": outlook.budget_nbytes,
        "resident_nbytes": outlook.plan.resident_nbytes,
        "streamed_nbytes": outlook.plan.streamed_nbytes,
        "step_seconds": outlook.prediction.step_seconds,
        "bound": outlook.prediction.bound,
    }


def _rows(forecast: Forecast, outlook: Outlook) -> Iterable[tuple[Any, float, float]]:
    """Each block's row, its seconds of computing and of being waited for in a step."""
    plan = outlook.plan
    compute = [0.0] * len(plan.blocks)
    stall = [0.0] * len(plan.blocks)
    for turn, block in enumerate(plan.order):
        compute[block] += forecast.compute.turn_seconds[turn]
        stall[block] += outlook.prediction.stall_seconds[turn]
    numbers = {block.name: i for i, block in enumerate(plan.blocks)}
    for row in rows(plan):
        yield row, compute[numbers[row.name]], stall[numbers[row.name]]


def _blocks_table(forecast: Forecast, outlook: Outlook, by_block: bool) -> Table:
    """A row for each block, or for blocks of one part of the model together."""
    shown = new_table("block" if by_block else "part", "stays", "streams", "computes", "waited for")
    sums: dict[str, list[float]] = {}
    for row, compute, stall in _rows(forecast, outlook):
        part = _PART.match(row.name)
        name = row.name if by_block or part is None else part.group()
        total = sums.setdefault(name, [0.0] * 4)
        streamed = 0 if row.stays else row.turns * row.nbytes
        for i, amount in enumerate((row.nbytes if row.stays else 0, streamed, compute, stall)):
            total[i] += amount
    for name, (stays, streams, computes, waited) in sums.items():
        shown.add_row(Text(printable(name)), size_text(stays), size_text(streams), _if_any(computes), _if_any(waited))
    return shown


def _budgets_table(forecast: Forecast, asked: Outlook) -> Table:
    """The smallest budget, the one for everything, some in between, and the one that was asked for."""
    shown = new_table("budget", "stays", "streams a step", "seconds a step", "bound by")
    budgets = {nbytes: forecast.at(nbytes) for nbytes in thinned(forecast.thresholds(), _BUDGETS)}
    budgets[asked.budget_nbytes] = asked
    for nbytes, outlook in sorted(budgets.items()):
        mark = " <" if outlook is asked else "  "
        shown.add_row(
            budget_text(nbytes) + mark,
            f"{len(outlook.plan.resident)} of {len(outlook.plan.blocks)} blocks",
            size_text(outlook.plan.streamed_nbytes),
            seconds_text(outlook.prediction.step_seconds),
            outlook.prediction.bound,
        )
    return shown


def _changes(forecast: Forecast) -> str:
    budgets = forecast.thresholds()
    return (
        f"Below {smallest_size_text(budgets[0])} nothing works, from {smallest_size_text(budgets[-1])} on everything "
        f"stays; in between the answer changes {max(0, len(budgets) - 2)} times."
    )


def _host(outlook: Outlook) -> str:
    held = (
        f"Host memory keeps {format_size(outlook.held_nbytes)} of what streams"
        if outlook.held_nbytes
        else "Host memory keeps nothing of what streams"
    )
    return f"{held}; {format_size(outlook.prediction.disk_nbytes)} have to come from the disk again in each step."


def _print_prediction(forecast: Forecast, outlook: Outlook, width: int, height: int) -> None:
    prediction, machine = outlook.prediction, forecast.machine
    typer.echo(
        f"Predicted for {width} x {height}: {seconds_text(prediction.step_seconds)} a step "
        f"(the first {seconds_text(prediction.first_step_seconds)}), bound by {prediction.bound}; "
        f"overlap {prediction.overlap:.0%}."
    )
    typer.echo(
        f"The computing takes {seconds_text(prediction.compute_seconds)} and waits "
        f"{seconds_text(prediction.waited_seconds)}; decoding takes {seconds_text(prediction.decode_seconds)} of one "
        f"processor, on {machine.workers} threads and {machine.cores} processors"
        + ("." if not machine.compute_threads else ", which the computing needs as well.")
    )
    if machine.link is not None:
        typer.echo(
            f"The link takes {seconds_text(prediction.link_seconds)} at {machine.link / 1e9:.3g} GB/s"
            + ("." if forecast.link_is_known else ", which is assumed; --link says otherwise.")
        )
        if forecast.packs:
            typer.echo(PACKS)
    if machine.disk is not None:
        typer.echo(f"The disk takes {seconds_text(prediction.disk_seconds)} at {machine.disk / 1e9:g} GB/s.")
    elif prediction.disk_nbytes:
        typer.echo("What comes from the disk is counted as if it were in memory: give its speed with --disk.")
    at = forecast.compute.measured_at
    if at is None:
        typer.echo("The computing is that of the speed given with --compute.")
    else:
        smaller = f", on {at.batch} x {at.height} x {at.width} latents"
        typer.echo(f"One block and one tensor of each kind were timed for this, just now and here{smaller}.")


def _if_any(seconds: float) -> str:
    return seconds_text(seconds) if seconds >= 5e-5 else "-"
