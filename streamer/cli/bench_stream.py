"""``streamer bench stream``: seconds a step at one budget or many, how well everything overlaps, and peak memory."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streamer.cli.libraries import load_libraries
from streamer.cli.plan_report import PACKS
from streamer.cli.plot_file import check_plot_path
from streamer.cli.tables import budget_text, new_table, print_table, seconds_text, size_text
from streamer.cli.warnings import Warnings
from streamer.config import format_size, parse_size
from streamer.errors import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from streamer.bench.stream_sweep import BudgetRun, Sweep


def stream(
    weights: Annotated[
        Path | None,
        typer.Argument(help="The U-Net's weights: LZR2 or safetensors. Default: the embedded demo.", metavar="FILE"),
    ] = None,
    vram_budget: Annotated[
        list[str] | None, typer.Option(help="As for gen; may be given several times.", metavar="SIZE")
    ] = None,
    sweep: Annotated[
        int, typer.Option(help="So many budgets more, from the smallest to the one for everything.", min=0, max=50)
    ] = 0,
    steps: Annotated[int, typer.Option(help="For each budget, after one that isn't counted.", min=1, max=1000)] = 3,
    model: Annotated[str | None, typer.Option(help="As for gen.", metavar="DIR_OR_HUB_ID")] = None,
    base: Annotated[Path | None, typer.Option(help="As for gen.", metavar="FILE")] = None,
    ram_budget: Annotated[str | None, typer.Option(help="As for gen.", metavar="SIZE")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; above 1 a step computes twice. Default: the model's.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that read and decode ahead. Default: as gen's.", min=1, max=64)
    ] = None,
    prefetch: Annotated[bool, typer.Option(help="Load the next blocks while one computes.")] = True,
    plot: Annotated[
        Path | None, typer.Option(help="Step time against budget, with the bound.", metavar="FILE.png")
    ] = None,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Stream the U-Net at one budget or several: seconds a step, overlap, stalls and peak memory.

    The result has to be the same at every budget, bit for bit: exit code 1 if it isn't, isn't finite, or is missing.

    Examples:

      streamer bench stream --sweep 6 --plot demo.png

      streamer bench stream sdxl.lzr2 --vram-budget 1GB --vram-budget 3GB --width 512 --height 512
    """
    check_plot_path(plot)
    budgets = [parse_size(text) for text in vram_budget or ()]
    ram = parse_size(ram_budget, least=0) if ram_budget is not None else None
    console = Console(stderr=True)
    warnings = Warnings()
    load_libraries(bars=False)
    from streamer.bench.stream_sweep import AskedSize
    from streamer.bench.stream_sweep import sweep as stream_at
    from streamer.models.open import PipelineOptions

    options = PipelineOptions(
        weights=weights,
        model=model,
        base=base,
        ram_budget_nbytes=ram,
        device=device,
        workers=threads if prefetch else 0,
    )
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    found = stream_at(
        options,
        budgets,
        AskedSize(width, height, guidance),
        steps,
        say,
        warnings.tell,
        evenly=sweep,
        on_step=lambda budget, number, seconds: say(
            f"{budget_text(budget)}: step {number} of {steps + 1}, {seconds_text(seconds)}"
        ),
    )
    if json_line:
        typer.echo(json.dumps(as_json(found)))
    elif found.runs:
        print_sweep(found)
    for budget, reason in found.failed:
        typer.echo(f"{budget_text(budget)}: {printable(reason)}", err=True)
    if plot is not None and found.runs:
        draw(found).save(plot)  # last: what was measured is told already, should it fail
    if not is_sound(found):
        typer.echo("The results differ between budgets, or aren't finite.", err=True)
    if found.failed or not is_sound(found):
        raise typer.Exit(1)


def is_sound(found: Sweep) -> bool:
    """Whether every budget gave the same finite result."""
    return found.results_equal and all(run.steps.finite for run in found.runs)


def print_sweep(found: Sweep) -> None:
    """A row for each budget, and what the columns mean where that isn't said by their names."""
    table = new_table(
        "budget", "stays", "streams", "seconds a step", "from", "to", "first", "predicted", "bound", "bound by",
        "overlap", "stalled", "read", "peak memory",
    )  # fmt: skip
    for run in found.runs:
        typical = run.steps.typical
        table.add_row(
            budget_text(run.budget_nbytes),
            f"{len(run.outlook.plan.resident)} of {len(run.outlook.plan.blocks)}",
            size_text(run.steps.streamed_nbytes),
            seconds_text(run.steps.step_seconds),
            seconds_text(min(run.steps.later_seconds)),
            seconds_text(max(run.steps.later_seconds)),
            seconds_text(run.steps.seconds[0]),
            seconds_text(run.outlook.prediction.step_seconds),
            seconds_text(run.bound_seconds),
            run.outlook.prediction.bound,
            f"{run.overlap:.0%}",
            f"{typical.stall_share:.0%}",
            size_text(typical.work.read_nbytes),
            _peak(run),
        )
    print_table(table)
    size, machine = found.size, found.forecast.machine
    typer.echo(
        f"{size.width} x {size.height}, batch {size.shape.batch}; decoding ahead on {machine.workers} of "
        f"{machine.cores} processors; {format_size(size.beside_nbytes)} of each budget are for what isn't weights."
    )
    typer.echo(
        "Medians without the first step. Overlap: the slowest of computing, decoding and the link alone, by the step. "
        "Bound: predicted, of these or of all processors' work where a CPU computes; what storage takes isn't in it."
    )
    if machine.link is not None:
        how = "was measured" if found.forecast.link_is_known else "couldn't be measured, and is assumed"
        typer.echo(f"The link to the device {how}: {machine.link / 1e9:.3g} GB/s.")
    packs = found.forecast.packs
    if packs:
        typer.echo(f"{PACKS} Predicted and bound don't count with that: steps may be faster than both.")
    if not packs and any(run.overlap > 1 or run.bound_seconds > run.steps.step_seconds for run in found.runs):
        typer.echo(
            "Steps were faster than their bound, so it is wrong here, and with it predicted and overlap: single blocks "
            "took longer when they were timed than in the steps. If the machine was busy, try again when it isn't."
        )
    if not all(run.steps.peak_is_own for run in found.runs):
        typer.echo("Peak memory counts from the start of each budget's process on, loading included.")
    if found.results_equal and len(found.runs) > 1:
        typer.echo("All budgets gave the same result, bit for bit.")


def as_json(found: Sweep) -> dict[str, Any]:
    """Everything, in bytes and seconds."""
    return {
        "weights": found.forecast.source.label,
        "width": found.size.width,
        "height": found.size.height,
        "batch": found.size.shape.batch,
        "beside_nbytes": found.size.beside_nbytes,
        "everything_nbytes": found.everything_nbytes,
        "workers": found.forecast.machine.workers,
        "cores": found.forecast.machine.cores,
        "link": found.forecast.machine.link,
        "link_is_known": found.forecast.link_is_known,
        "packs": found.forecast.packs,
        "results_equal": found.results_equal,
        "runs": [run_json(run) for run in found.runs],
        "failed": [{"vram_budget": budget, "reason": reason} for budget, reason in found.failed],
    }


def run_json(run: BudgetRun) -> dict[str, Any]:
    """One budget, in bytes and seconds."""
    steps, prediction, typical = run.steps, run.outlook.prediction, run.steps.typical
    return {
        "vram_budget": run.budget_nbytes,
        "step_seconds": steps.step_seconds,
        "all_seconds": list(steps.seconds),
        "predicted_seconds": prediction.step_seconds,
        "predicted_first_seconds": prediction.first_step_seconds,
        "bound_seconds": run.bound_seconds,
        "bound": prediction.bound,
        "overlap": run.overlap,
        "stall_share": typical.stall_share,
        "waited_seconds": typical.work.waited_seconds,
        "read_nbytes": typical.work.read_nbytes,
        "load_seconds": typical.work.load_seconds,
        "resident_blocks": len(run.outlook.plan.resident),
        "blocks": len(run.outlook.plan.blocks),
        "device_nbytes": steps.device_nbytes,
        "streamed_nbytes": steps.streamed_nbytes,
        "peak_resident_nbytes": steps.peak_resident_nbytes,
        "peak_is_own": steps.peak_is_own,
        "peak_device_nbytes": steps.peak_device_nbytes,
        "digest": steps.digest,
        "finite": steps.finite,
        "most_waited": [list(item) for item in steps.most_waited],
    }


def draw(found: Sweep) -> Image:
    """Step time against budget: the bound and the prediction at every budget that changes the plan, and what was
    measured."""
    from streamer.bench.budget_plot import BOUND, MEASURED, PREDICTED, Series, draw_budgets
    from streamer.bench.stream_sweep import bound_seconds
    from streamer.plan.thresholds import thinned

    most = found.everything_nbytes
    run_at = {run.budget_nbytes: run.outlook for run in found.runs}  # with the settings that they ran with
    budgets = sorted({*thinned(found.forecast.thresholds(), 24), *run_at})
    outlooks = [run_at.get(budget) or found.forecast.at(budget) for budget in budgets if budget <= most]
    bound = tuple((float(one.budget_nbytes), bound_seconds(one)) for one in outlooks)
    predicted = tuple((float(one.budget_nbytes), one.prediction.step_seconds) for one in outlooks)
    measured = tuple((float(min(run.budget_nbytes, most)), run.steps.step_seconds) for run in found.runs)
    size = found.size
    title = f"{found.forecast.source.label}, {size.width} x {size.height}, batch {size.shape.batch}"
    return draw_budgets(
        title,
        [
            Series("bound", BOUND, bound),
            Series("predicted", PREDICTED, predicted),
            Series("measured", MEASURED, measured, marks=True),
        ],
    )


def _peak(run: BudgetRun) -> str:
    host = format_size(run.steps.peak_resident_nbytes)
    device = run.steps.peak_device_nbytes
    return host if device is None else f"{host}, device {format_size(device)}"
