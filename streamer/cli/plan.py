"""``streamer plan``: what stays, what streams, and how long a step will take, before anything is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamer.cli.libraries import load_libraries
from streamer.cli.plan_report import as_json, print_report
from streamer.cli.warnings import Warnings
from streamer.config import parse_size
from streamer.errors import SettingError

_GIGA, _TERA = 1e9, 1e12


def plan(
    weights: Annotated[
        Path | None, typer.Option(help="The U-Net's weights: an LZR2 or safetensors file.", metavar="FILE")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model: a directory in diffusers layout, a hub id, or 'demo'. "
            "Default: what fits the weights (SDXL base 1.0, or the embedded demo).",
            metavar="DIR_OR_HUB_ID",
        ),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Safetensors for tensors that the weights don't set.", metavar="FILE")
    ] = None,
    vram_budget: Annotated[
        str | None, typer.Option(help="As for gen: most memory on the device, for everything.", metavar="SIZE")
    ] = None,
    ram_budget: Annotated[
        str | None, typer.Option(help="As for gen: most host memory for keeping weights.", metavar="SIZE")
    ] = None,
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
    link: Annotated[
        float | None, typer.Option(help="Speed of the link to the device. Default: measured.", metavar="GB/s")
    ] = None,
    disk: Annotated[
        float | None,
        typer.Option(help="Speed of the disk. Default: what is read is in the page cache.", metavar="GB/s"),
    ] = None,
    compute: Annotated[
        float | None,
        typer.Option(help="What the device computes. Default: one block of each kind is run.", metavar="TFLOP/s"),
    ] = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="A row for each block, not for each part.")] = False,
    strict: Annotated[
        bool, typer.Option(help="Weights that the model doesn't know, or of another shape, are an error.")
    ] = True,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the plan for a budget, how long a step will take and why, and what other budgets would give.

    Measures this machine for some seconds; of the weights only a few tensors are read.

    Examples:

      streamer plan

      streamer plan --weights sdxl.lzr2 --vram-budget 4GB --width 768 --height 768
    """
    vram = parse_size(vram_budget) if vram_budget is not None else None
    ram = parse_size(ram_budget, least=0) if ram_budget is not None else None
    for name, speed in (("--link", link), ("--disk", disk), ("--compute", compute)):
        if speed is not None and not 1e-6 <= speed <= 1e6:
            raise SettingError(f"A speed of {speed:g} for {name}: it has to be above 0, and real.")
    if guidance is not None and not 0 <= guidance <= 1000:
        raise SettingError(f"A guidance of {guidance} makes no sense; 1 to 15 is usual.")
    console = Console(stderr=True)
    warnings = Warnings()
    load_libraries(bars=False)
    from streamer.bench.forecast import forecast
    from streamer.bench.step_size import step_size
    from streamer.models.device import choose_device
    from streamer.models.open import PipelineOptions, open_unet

    if link is not None and choose_device(device).type == "cpu":
        raise SettingError("There is no link to a device where the CPU computes.", "Leave --link out.")
    options = PipelineOptions(
        weights=weights,
        model=model,
        base=base,
        vram_budget_nbytes=vram,
        ram_budget_nbytes=ram,
        device=device,
        strict=strict,
        workers=threads if prefetch else 0,
    )

    def notify(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    opened = open_unet(options, notify, warnings.tell, with_rest=False)
    try:
        size = step_size(opened, width, height, guidance)
        found = forecast(
            opened,
            size.shape,
            beside_nbytes=size.beside_nbytes,
            link=None if link is None else link * _GIGA,
            disk=None if disk is None else disk * _GIGA,
            flops_per_second=None if compute is None else compute * _TERA,
        )
        budget = opened.settings.vram_budget_nbytes
        if json_line:
            typer.echo(json.dumps(as_json(found, budget, size.width, size.height), ensure_ascii=True))
        else:
            print_report(found, budget, size.width, size.height, by_block=blocks)
    finally:
        opened.source.close()
