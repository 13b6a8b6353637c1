"""``streamer gen``: pictures from prompts."""

from __future__ import annotations

import io as io_module
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.console import Console

from streamer.cli import gen_options as o
from streamer.cli.batch import draw_all, jobs, seeds
from streamer.cli.conditions import ConditionOptions
from streamer.cli.demo_prompts import list_prompts
from streamer.cli.drawing import Drawing, Wishes
from streamer.cli.failure import report
from streamer.cli.grid import GridName, save_grid
from streamer.cli.libraries import load_libraries
from streamer.cli.manifest import Manifest
from streamer.cli.pictures import PictureNames
from streamer.cli.prompts_file import read_prompts
from streamer.cli.trace_file import check_trace_path, traced
from streamer.cli.warnings import Warnings, told_through
from streamer.config import parse_size
from streamer.errors import SettingError
from streamer.models.head_start import head_start
from streamer.models.user_path import user_path

_ENDS = ("quit", "exit", "q")


def gen(
    prompts: o.Prompts = None,
    negative: o.Negative = None,
    steps: o.Steps = None,
    width: o.Width = None,
    height: o.Height = None,
    guidance: o.Guidance = None,
    seed: o.Seed = None,
    scheduler: o.Scheduler = None,
    weights: o.Weights = None,
    model: o.Model = None,
    base: o.Base = None,
    strict: o.Strict = True,
    demo_prompts: o.DemoPrompts = False,
    image: o.Image = None,
    mask: o.Mask = None,
    strength: o.Strength = None,
    control: o.Control = None,
    control_scale: o.ControlScale = None,
    ip_adapter: o.IpAdapter = None,
    ip_scale: o.IpScale = None,
    ip_encoder: o.IpEncoder = None,
    lora: o.Lora = None,
    refiner: o.Refiner = None,
    refine_from: o.RefineFrom = None,
    count: o.Count = 1,
    prompts_file: o.PromptsFile = None,
    interactive: o.Interactive = False,
    grid: o.Grid = None,
    vram_budget: o.VramBudget = None,
    ram_budget: o.RamBudget = None,
    vae_tile: o.VaeTile = None,
    device: o.Device = "auto",
    prefetch: o.Prefetch = True,
    threads: o.Threads = None,
    spill: o.Spill = None,
    io: o.Io = o.ReadChoice.auto,
    output: o.Output = None,
    json_line: o.JsonLine = False,
    quiet: o.Quiet = False,
    trace: o.Trace = None,
) -> None:
    """Draw pictures. Without --weights and --model the embedded demo draws, a small model of 64 x 64 pixels.

    Examples:

      streamer gen "red apple"

      streamer gen --demo-prompts

      streamer gen "a lighthouse at dawn" --weights sdxl.lzr2 --vram-budget 4GB

      streamer gen "in watercolours" --weights sdxl.lzr2 --image photo.jpg --lora watercolour.safetensors:0.8
    """
    if demo_prompts:
        list_prompts(quiet=quiet)
        return
    prompts = _prompts(prompts or [], prompts_file, interactive=interactive)
    vram = parse_size(vram_budget) if vram_budget is not None else None
    ram = parse_size(ram_budget, least=0) if ram_budget is not None else None
    if trace is not None:
        check_trace_path(trace)
    if prompts_file is not None:
        output = _folder(output)
    names = PictureNames(output, None if interactive else len(prompts) * count)
    sheet = GridName(grid, names.folder) if grid is not None else None
    warnings = Warnings()
    conditions = ConditionOptions(
        image=image,
        mask=mask,
        strength=strength,
        control=control or (),
        control_scale=control_scale or (),
        lora=lora or (),
        ip_adapter=ip_adapter,
        ip_scale=ip_scale,
        ip_encoder=ip_encoder,
        refiner=refiner,
        refine_from=refine_from,
    )
    wishes = Wishes(steps, guidance, width, height, negative, conditions.conditioning(warnings.tell))
    console = Console(stderr=True)

    def notify(line: str) -> None:
        if not quiet:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(path: Path) -> None:
        if not json_line:
            typer.echo(str(path))

    notify("Loading ...")
    with ExitStack() as opened:
        opened.enter_context(told_through(warnings))
        with head_start(weights, model, base, spill):
            load_libraries(bars=console.is_terminal and not quiet)
            from streamer.models.open import PipelineOptions, open_pipeline

            wishes.check(prompts, seed, count)

            options = PipelineOptions(
                weights=weights,
                model=model,
                base=base,
                vram_budget_nbytes=vram,
                ram_budget_nbytes=ram,
                device=device,
                scheduler=scheduler,
                strict=strict,
                workers=threads if prefetch else 0,
                io=io.value,
                vae_tile=_tile(vae_tile),
                spill_dir=spill,
                extras=conditions.extras(),
            )
            pipeline = opened.enter_context(open_pipeline(options, notify, warnings.tell))
        opened.enter_context(traced(pipeline.handle, trace))
        drawing = Drawing(pipeline, wishes, names, console, quiet=quiet, warnings=warnings)
        manifest = Manifest(names.folder, warnings.tell) if prompts_file is not None else None
        draw_all(drawing, jobs(prompts, seed, count, any_seed=manifest is not None), manifest, show)
        if interactive:
            _loop(drawing, seed, count, show)
        summary = drawing.summary()
        if manifest is not None:
            summary["manifest"] = str(manifest.path)
        if sheet is not None and drawing.paths:
            path = sheet.path()
            save_grid(drawing.paths, path)
            summary["grid"] = str(path)
            show(path)
        if json_line:
            typer.echo(json.dumps(summary, ensure_ascii=True))


def _prompts(given: list[str], file: str | None, *, interactive: bool) -> list[str]:
    """What to draw before anything is asked for. Raises SettingError."""
    if file is not None:
        if given or interactive:
            raise SettingError(
                "Prompts come from --prompts-file, and from elsewhere too.",
                "Give them in the file alone; - reads them from the standard input.",
            )
        return read_prompts(file)
    if not interactive and (not given or not all(prompt.strip() for prompt in given)):
        raise SettingError(
            "There is nothing to draw." if not given else "One of the prompts is empty.",
            'Give a prompt: streamer gen "red apple", or use --interactive.',
        )
    if interactive and sys.stdin is None:
        raise SettingError("There is no standard input to read prompts from.", "Give them as arguments.")
    return given


def _folder(output: str | None) -> str | None:
    """For the pictures of a file of prompts. Raises SettingError."""
    if output is None or output.endswith(("/", "\\")) or user_path(output).is_dir():
        return output
    if Path(output).suffix:
        raise SettingError(
            f"--output {output} is one file, --prompts-file gives many.", "Name a folder, with a / last."
        )
    return f"{output}/"


def _tile(text: str | None) -> int | None:
    """Pixels; 0 for ``off``. Raises SettingError."""
    if text is None or text == "auto":
        return None
    if text == "off":
        return 0
    if not text.isdecimal() or not 0 < len(text) < 7 or int(text) == 0:
        raise SettingError(f"--vae-tile {text!a} is no number of pixels.", "Give one such as 512, or off.")
    return int(text)


def _loop(drawing: Drawing, seed: int | None, count: int, show: Callable[[Path], None]) -> None:
    """Draws what is typed; a prompt that fails is told of and the next one asked for."""
    for prompt in _typed():
        for number in seeds(seed, count):
            try:
                show(drawing.draw(prompt, number))
            except Exception as error:  # noqa: BLE001 - told of; the loop goes on
                if not report(error):
                    typer.echo(f"Error: {type(error).__name__}: {error}", err=True)


def _typed() -> Iterator[str]:
    """Lines from the standard input until its end or a word that ends; empty ones are left out."""
    if isinstance(sys.stdin, io_module.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a byte that is no text doesn't end the loop
    prompting = sys.stdin.isatty()
    while True:
        if prompting:
            typer.echo("prompt> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line or line.strip().lower() in _ENDS:
            if prompting and not line:
                typer.echo(err=True)
            return
        if line.strip():
            yield line.strip()
