"""What loading costs where nothing is computed: the blocks of a streamed U-Net, one after the other, as a step asks.

    python -m benchmarks.load_alone lattice.safetensors --vram-budget 1GB

A step can't be faster than this, and on a CPU, where weights are loaded between blocks, takes about this much longer
than the resident model's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

# As the command line does, before torch reads it: a thread that decodes and one that spins want the same core.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import torch

from benchmarks.stream_forward import SDXL_CONFIG, inputs, settings_of
from streamer.models.device import decode_workers
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.weights import open_weights
from streamer.runtime.engine import Engine


def loaded(engine: Engine) -> tuple[float, int]:
    """Seconds, and bytes of weights as they are computed with, of one step without its compute."""
    before = engine.account.stats.totals.work.loaded_nbytes
    started = time.perf_counter()
    engine.begin_step()
    for block in engine.plan.order:
        engine.acquire(block)
        engine.release(block)
    engine.end_step()
    return time.perf_counter() - started, engine.account.stats.totals.work.loaded_nbytes - before


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG)
    parser.add_argument("--vram-budget", default="1GB")
    parser.add_argument("--ram-budget", default=None, help="default: as `streamer gen`")
    parser.add_argument("--threads", type=int, default=None, help="decode threads; default: as `streamer gen`")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args(arguments)
    if args.steps < 1:
        parser.error("--steps: at least 1")

    device = torch.device("cpu")
    config: dict[str, Any] = json.loads(args.config.read_text("utf-8"))
    unet = empty_unet(config)
    source = open_weights(args.weights, (), expected_tensors(unet), strict=True, io="auto", warn=print)
    workers = decode_workers(device) if args.threads is None else args.threads
    settings = settings_of(args.vram_budget, args.ram_budget, workers)
    with stream_unet(unet, source, settings, device, torch.float32) as handle:
        with torch.no_grad():
            unet(**inputs(config, args.pixels, 1))  # tells the order, and fills the page cache
        steps = [loaded(handle._engine) for _ in range(args.steps)]
    seconds = [step[0] for step in steps]
    report = {
        "weights": args.weights.name,
        "vram_budget": args.vram_budget,
        "ram_budget": args.ram_budget or "default",
        "decode_threads": workers,
        "step_seconds": [round(s, 3) for s in seconds],
        "loaded_nbytes": steps[-1][1],
        "median_seconds": round(statistics.median(seconds), 3),
        "loaded_gb_per_second": round(steps[-1][1] / statistics.median(seconds) / 1e9, 2),
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
