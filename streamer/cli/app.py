"""The ``streamer`` command: its subcommands, and what becomes of errors."""

from __future__ import annotations

import gc
import sys
from typing import Any

import typer
import typer.core

from streamer.cli.bench import bench
from streamer.cli.doctor import doctor
from streamer.cli.encode import encode
from streamer.cli.export import export
from streamer.cli.failure import report
from streamer.cli.gen import gen
from streamer.cli.index import index
from streamer.cli.info import info
from streamer.cli.interrupt import ends_in_time
from streamer.cli.pairs import PairedCommand
from streamer.cli.plan import plan
from streamer.cli.verify import verify


class _Commands(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs the subcommand; an error that the user can act on becomes a message and exit code 2."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            if not report(error):
                raise
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    help="Runs full Stable Diffusion XL where it doesn't fit: weights stream block by block under one budget.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command(cls=PairedCommand)(gen)
app.command()(plan)
app.command()(index)
app.command()(info)
app.command()(verify)
app.command()(encode)
app.command()(export)
app.command()(doctor)
app.add_typer(bench, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"streamer {version('lzr2-streamer')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _write_any_text() -> None:
    """A file's name that is no text, or has letters that the terminal lacks, shall not end what is done."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def main() -> None:
    """Runs the command line and exits: 0 done, 2 an error that the user can act on, 130 interrupted."""
    _write_any_text()
    try:
        with ends_in_time():
            app()
    finally:
        # Ending, Python would look through hundreds of thousands of objects for garbage: a second and more.
        gc.freeze()
