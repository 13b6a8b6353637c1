"""``streamer doctor``: whether this machine is ready, what has to be mended, and which budgets suit it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.libraries import load_libraries
from streamer.errors import printable

if TYPE_CHECKING:
    from streamer.bench.checks import Finding
    from streamer.bench.machine_facts import Facts

# What mismatched or half-installed libraries raise when they are imported; diffusers wraps it in RuntimeError.
_UNLOADABLE = (ImportError, OSError, RuntimeError, ValueError, AttributeError)
_COLOURS = {"ok": "green", "advice": "yellow", "fault": "red"}


def doctor(
    weights: Annotated[
        Path | None, typer.Option(help="Also look at this file and the storage that it is on.", metavar="FILE")
    ] = None,
    json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Check the device, the installed torch, memory, packages and storage, and recommend budgets.

    Exit code 0: all is well, though there may be advice. 1: something has to be mended.
    """
    typer.echo("Looking at this machine ...", err=True)
    try:
        load_libraries(bars=False)
        from streamer.bench.checks import findings, is_well, recommended
        from streamer.bench.machine_facts import gather
    except _UNLOADABLE as error:
        _print_unloadable(error, json_line)
        raise typer.Exit(1) from error

    facts = gather(weights)
    found = findings(facts)
    well = is_well(found)
    budgets = recommended(facts)
    if json_line:
        typer.echo(
            json.dumps(
                {
                    "well": well,
                    "findings": [asdict(one) for one in found],
                    "recommended": asdict(budgets),
                    "facts": asdict(facts),
                }
            )
        )
    else:
        _print(facts, found)
        typer.echo(
            f"\nRecommended: --device {budgets.device} --vram-budget {_round(budgets.vram_nbytes)} "
            f"--ram-budget {_round(budgets.ram_nbytes)}"
        )
        typer.echo("All is well." if well else "Something has to be mended, see above.")
    if not well:
        raise typer.Exit(1)


def _print(facts: Facts, found: tuple[Finding, ...]) -> None:
    typer.echo(f"{facts.system}; Python {facts.python}")
    versions = ", ".join(f"{name} {one.installed}" for name, one in facts.packages.items() if one.installed)
    typer.echo(f"{versions}\n")
    for one in found:
        typer.secho(f"{one.level.value:>6}  ", fg=_COLOURS[one.level.value], nl=False)
        typer.echo(f"{one.subject}: {one.text}")
        if one.hint is not None:
            typer.echo(f"        {one.hint}")


def _print_unloadable(error: Exception, json_line: bool) -> None:
    """What can be told when the libraries that tell the rest can't even be loaded."""
    text = f"They can't be loaded: {printable(str(error) or type(error).__name__)}"
    hint = "Install them anew: pip install --force-reinstall torch diffusers transformers"
    if json_line:
        finding = {"level": "fault", "subject": "packages", "text": text, "hint": hint}
        typer.echo(json.dumps({"well": False, "findings": [finding], "recommended": None, "facts": None}))
    else:
        typer.secho(" fault  ", fg=_COLOURS["fault"], nl=False)
        typer.echo(f"packages: {text}\n        {hint}")


def _round(nbytes: int) -> str:
    """Down, in the unit that a person would type."""
    return f"{nbytes // 10**7 / 100:g}GB" if nbytes >= 10**9 else f"{nbytes // 10**6}MB"
