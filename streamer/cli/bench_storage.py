"""``streamer bench storage``: how fast files can be read here, and what steps are like with the weights there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamer.cli.libraries import load_libraries
from streamer.cli.plot_file import check_plot_path
from streamer.cli.storage_report import Found, StepsOn, draw, print_json, print_storages, rate_text
from streamer.cli.tables import budget_text, seconds_text
from streamer.cli.warnings import Warnings
from streamer.config import parse_size
from streamer.errors import SettingError
from streamer.processors import processors

if TYPE_CHECKING:
    from streamer.bench.storage_read import ReadSpeed

_MOST_THREADS = 64
_WEIGHTS = (".lzr2", ".safetensors")  # how their names end


def storage(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="A large file on each storage. Default: the weights.", metavar="PATH"),
    ] = None,
    emulate: Annotated[
        list[str] | None,
        typer.Option(
            help="Also as from another storage: hdd, usb3, sata, nvme3, nvme4 or a number of MB/s; several times.",
            metavar="KIND|MB/S",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Predict steps with these weights, were they there: LZR2 or safetensors.", metavar="FILE"),
    ] = None,
    vram_budget: Annotated[
        list[str] | None, typer.Option(help="To predict for; several times. Default: five.", metavar="SIZE")
    ] = None,
    ram_budget: Annotated[
        str, typer.Option(help="For weights kept in host memory: those aren't read again.", metavar="SIZE")
    ] = "0",
    size: Annotated[str, typer.Option(help="Most to read in one measurement.", metavar="SIZE")] = "512MB",
    steps: Annotated[
        int, typer.Option(help="Steps to run at each budget under emulation, after one.", min=1, max=100)
    ] = 2,
    model: Annotated[str | None, typer.Option(help="As for gen.", metavar="DIR_OR_HUB_ID")] = None,
    base: Annotated[Path | None, typer.Option(help="As for gen.", metavar="FILE")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; above 1 a step computes twice. Default: the model's.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="That read blocks at once. Default: the processors.", min=1, max=_MOST_THREADS)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Step time against budget, a line for each storage.", metavar="FILE.png")
    ] = None,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Measure what storage can feed: cold and warm, through the engine's readers; then what steps would be like.

    With --weights, predicts seconds a step at several budgets and recommends settings. With --emulate, reads are slowed
    to another storage's speed: the steps are run too, and measured and predicted seconds stand side by side.

    Examples:

      streamer bench storage /mnt/disk/large.bin

      streamer bench storage --weights sdxl.lzr2 --emulate hdd --emulate nvme3 --plot storage.png
    """
    check_plot_path(plot)
    if not paths and weights is None:
        raise SettingError("There is nothing to read.", "Name a file on the storage, or give --weights.")
    if plot is not None and weights is None:
        raise SettingError("Without weights there are no steps to draw.", "Give --weights FILE too.")
    from streamer.bench.pace import emulated_speed
    from streamer.bench.storage_measure import check_readable, measure_emulated, measure_storage

    most = parse_size(size)
    budgets = [parse_size(text) for text in vram_budget or ()]
    ram = parse_size(ram_budget, least=0)
    speeds = {text: emulated_speed(text) for text in emulate or ()}
    files = paths or [path for path in (weights,) if path is not None]
    for path in files:
        check_readable(path)
    say = partial(Console(stderr=True).print, markup=False, highlight=False, soft_wrap=True)

    def read(one: ReadSpeed) -> None:
        say(f"  {one.method} {one.pattern}: {one.problem or rate_text(one.rate)}")

    at_once = threads or min(_MOST_THREADS, processors())
    found = Found()
    for path in files:
        say(f"Reading {path} ...")
        found.reports.append(measure_storage(path, most, at_once, read))
    for name, speed in speeds.items():
        say(f"Reading {files[0]} as from {name} ...")
        found.emulated[name] = (speed, measure_emulated(files[0], most, at_once, speed, read))
    if weights is not None:
        load_libraries(bars=False)
        from streamer.bench.storage_steps import outlook_of
        from streamer.bench.stream_sweep import AskedSize
        from streamer.models.open import PipelineOptions

        options = PipelineOptions(weights=weights, model=model, base=base, ram_budget_nbytes=ram, device=device)
        say("Timing one block of each kind ...")
        found.outlook = outlook_of(options, budgets, AskedSize(width, height, guidance), say, Warnings().tell)
        try:
            for report in found.reports:
                if report.disk is not None:
                    found.steps.append(StepsOn(str(report.path), report.disk, found.outlook.on(report.disk)))
            for name, speed in speeds.items():
                say(f"Streaming as from {name} ...")
                run = found.outlook.measured(
                    speed,
                    steps,
                    lambda budget, number, seconds: say(
                        f"  {budget_text(budget)}: step {number} of {steps + 1}, {seconds_text(seconds)}"
                    ),
                )
                found.steps.append(StepsOn(name, speed, run))
            (print_json if json_line else print_storages)(found)
            if plot is not None and not found.steps:
                say(f"{plot.name} isn't drawn: there are no steps to draw.")
            elif plot is not None:
                draw(found).save(plot)  # last: what was measured is told already, should it fail
        finally:
            found.outlook.close()
    else:
        (print_json if json_line else print_storages)(found)
        named = next((path for path in files if path.suffix.lower() in _WEIGHTS), None)
        if named is not None:
            say(f"--weights {named} adds how fast it is decoded, and what steps would be like with it there.")
