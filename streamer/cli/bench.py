"""``streamer bench``: what this machine and its storage can do, measured with the engine's own parts."""

from __future__ import annotations

import typer

from streamer.cli.bench_decode import decode
from streamer.cli.bench_storage import storage
from streamer.cli.bench_stream import stream

bench = typer.Typer(
    help="Measure this machine: storage, decoding, and streamed steps beside what is predicted.", no_args_is_help=True
)
bench.command()(storage)
bench.command()(decode)
bench.command()(stream)
