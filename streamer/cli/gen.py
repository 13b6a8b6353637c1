"""``streamer gen``: pictures from prompts."""

from __future__ import annotations

import io as io_module
import json
import secrets
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamer.cli.drawing import Drawing, Wishes
from streamer.cli.failure import report
from streamer.cli.libraries import load_libraries
from streamer.cli.pictures import PictureNames
from streamer.cli.trace_file import check_trace_path, traced
from streamer.cli.warnings import Warnings
from streamer.config import parse_size
from streamer.errors import SettingError

_ENDS = ("quit", "exit", "q")


class ReadChoice(str, Enum):
    """How the weight file is read."""

    auto = "auto"
    mmap = "mmap"
    pread = "pread"


def gen(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw: one picture for each prompt.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The U-Net's weights: an LZR2 or safetensors file. A single-file checkpoint brings its own text "
            "encoders and VAE.",
            metavar="FILE",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Everything else: a directory in diffusers layout, a hub id, or 'demo'. "
            "Default: what fits the weights (SDXL base 1.0, or the embedded demo).",
            metavar="DIR_OR_HUB_ID",
        ),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Safetensors for tensors that the weights don't set.", metavar="FILE")
    ] = None,
    vram_budget: Annotated[
        str | None,
        typer.Option(
            help="Most memory on the device (the computer's own with --device cpu) for everything: weights, "
            "activations, text encoders, VAE, CUDA's context. 4GB, 512MiB, unlimited. Default: the model's, or what "
            "is free.",
            metavar="SIZE",
        ),
    ] = None,
    ram_budget: Annotated[
        str | None,
        typer.Option(
            help="Most host memory for keeping weights between steps, so that they needn't be decoded again. "
            "0: none. Default: half of what is free with a GPU; without, up to a quarter, for what saves most time.",
            metavar="SIZE",
        ),
    ] = None,
    vae_tile: Annotated[
        str | None,
        typer.Option(
            help="Decode the picture in tiles of so many pixels; off: whole. Default: whole where that fits into the "
            "budget, else in the largest tiles that do.",
            metavar="PIXELS",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    steps: Annotated[int | None, typer.Option(help="Denoising steps. Default: the model's.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8. Default: the model's.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale. Default: the model's.")] = None,
    negative: Annotated[str | None, typer.Option(help="What to keep away from.", metavar="PROMPT")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise. Default: a random one, which is told.")] = None,
    count: Annotated[int, typer.Option(help="Pictures of each prompt, with successive seeds.", min=1)] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="euler, euler-a, ddim, dpm++2m, unipc, ... Default: the model's.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="A PNG file or a directory. Default: here.", metavar="PATH")
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask for prompts until quit, exit, q or Ctrl-D.")
    ] = False,
    json_line: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON about everything at the end.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    strict: Annotated[
        bool, typer.Option(help="Weights that the model doesn't know, or of another shape, are an error.")
    ] = True,
    prefetch: Annotated[bool, typer.Option(help="Load the next blocks while one computes.")] = True,
    threads: Annotated[
        int | None, typer.Option(help="Threads that read and decode ahead. Default: up to 4.", min=1, max=64)
    ] = None,
    spill: Annotated[
        Path | None,
        typer.Option(
            help="Keep decoded weights in this folder, on a fast local disk, where decoding them again at each step "
            "takes longer: for overlay-heavy LZR2 files and little memory. Up to 2 bytes a weight (5.1 GB for SDXL); "
            "the file stays for the next time and may be deleted.",
            metavar="DIR",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Write what was busy when: .json for Chrome or Perfetto, .png to look at.", metavar="FILE"),
    ] = None,
    io: Annotated[ReadChoice, typer.Option(help="How to read the weight file.")] = ReadChoice.auto,
) -> None:
    """Draw pictures. Without --weights and --model the embedded demo draws, a small model of 64 x 64 pixels.

    Examples:

      streamer gen "red apple"

      streamer gen "a lighthouse at dawn" --weights sdxl.lzr2 --vram-budget 4GB
    """
    prompts = prompts or []
    if not interactive and (not prompts or not all(prompt.strip() for prompt in prompts)):
        raise SettingError(
            "There is nothing to draw." if not prompts else "One of the prompts is empty.",
            'Give a prompt: streamer gen "red apple", or use --interactive.',
        )
    if interactive and sys.stdin is None:
        raise SettingError("There is no standard input to read prompts from.", "Give them as arguments.")
    vram = parse_size(vram_budget) if vram_budget is not None else None
    ram = parse_size(ram_budget, least=0) if ram_budget is not None else None
    if trace is not None:
        check_trace_path(trace)
    names = PictureNames(output, None if interactive else len(prompts) * count)
    wishes = Wishes(steps, guidance, width, height, negative)
    console = Console(stderr=True)
    warnings = Warnings()

    def notify(line: str) -> None:
        if not quiet:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    notify("Loading ...")
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
    )
    with open_pipeline(options, notify, warnings.tell) as pipeline, traced(pipeline.handle, trace):
        drawing = Drawing(pipeline, wishes, names, console, quiet=quiet, warnings=warnings)
        for prompt in prompts:
            for number in _seeds(seed, count):
                _show(drawing.draw(prompt, number), json_line)
        if interactive:
            _loop(drawing, seed, count, json_line)
        if json_line:
            typer.echo(json.dumps(drawing.summary(), ensure_ascii=True))


def _tile(text: str | None) -> int | None:
    """Pixels; 0 for ``off``. Raises SettingError."""
    if text is None or text == "auto":
        return None
    if text == "off":
        return 0
    if not text.isdecimal() or not 0 < len(text) < 7 or int(text) == 0:
        raise SettingError(f"--vae-tile {text!a} is no number of pixels.", "Give one such as 512, or off.")
    return int(text)


def _seeds(seed: int | None, count: int) -> range:
    """Successive seeds, from the one given or from a random one."""
    first = seed if seed is not None else secrets.randbits(32)
    return range(first, first + count)


def _loop(drawing: Drawing, seed: int | None, count: int, json_line: bool) -> None:
    """Draws what is typed; a prompt that fails is told of and the next one asked for."""
    for prompt in _typed():
        for number in _seeds(seed, count):
            try:
                _show(drawing.draw(prompt, number), json_line)
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


def _show(path: Path, json_line: bool) -> None:
    if not json_line:
        typer.echo(str(path))
