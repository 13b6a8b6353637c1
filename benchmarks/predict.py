"""Predicts streamed steps of one U-Net, makes them, and tells how far off the predictions were.

    python -m benchmarks.predict lattice.lzr2 --vram-budget 1GB 3GB unlimited --pixels 512
    python -m benchmarks.predict demo.lzr2 --config streamer/models/demo/pipeline/unet/config.json --vram-budget 16MB

The machine is measured for a prediction between any two steps; a step's `ratio` is its seconds by the mean of the
predictions right before and right after it. On a shared machine the two may differ much: then the step tells nothing.
The medians are of `steady` steps, whose two predictions differ by at most 15 %, or of all if there are none.
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

from benchmarks.stream_forward import SDXL_CONFIG, inputs
from streamer.bench.forecast import forecast
from streamer.config import StreamSettings, parse_size
from streamer.models.defaults import Defaults
from streamer.models.device import decode_workers
from streamer.models.directory import ModelDirectory
from streamer.models.open import OpenedUnet
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.unet_inputs import StepShape
from streamer.models.weights import open_weights

_STEADY = 1.15  # one prediction by the other


def told(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG)
    parser.add_argument("--vram-budget", nargs="+", default=["1GB"])
    parser.add_argument("--ram-budget", default="0")
    parser.add_argument("--threads", type=int, default=None, help="decode threads; default: as `streamer gen`")
    parser.add_argument("--pixels", type=int, default=512, help="eight times the latent's side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="for each budget, after one that isn't counted")
    args = parser.parse_args()

    device, dtype = torch.device("cpu"), torch.float32
    config = json.loads(args.config.read_text("utf-8"))
    workers = decode_workers(device) if args.threads is None else args.threads
    budgets = [parse_size(text) for text in args.vram_budget]
    settings = StreamSettings(budgets[0], parse_size(args.ram_budget, least=0), workers, load_in_pauses=True)
    unet = empty_unet(config)
    source = open_weights(args.weights, (), expected_tensors(unet), strict=True, io="auto", warn=told)
    smallest = min(source.keys(), key=lambda key: source.info(key).weights)
    source.read_into(smallest, torch.empty(source.info(smallest).shape))  # compiles the decoder
    directory = ModelDirectory(args.config.stem, args.config.parent, None)
    opened = OpenedUnet(directory, empty_unet(config), source, settings, device, dtype, Defaults())
    shape = StepShape(args.pixels // 8, args.pixels // 8, args.batch)
    arguments = inputs(config, args.pixels, args.batch)

    def step() -> float:
        started = time.perf_counter()
        with torch.no_grad():
            unet(**arguments)
        return time.perf_counter() - started

    rows: list[dict[str, Any]] = []
    with stream_unet(unet, source, settings, device, dtype) as handle:
        for text, budget in zip(args.vram_budget, budgets, strict=True):
            handle.budget_nbytes = budget
            told(f"{text}: first step {step():.3f} s")
            after = forecast(opened, shape).at(budget).prediction
            for _ in range(args.steps):
                before, seconds = after, step()
                after = forecast(opened, shape).at(budget).prediction
                both = (before.step_seconds, after.step_seconds)
                work = handle.stats.steps[-1].work
                told(
                    f"{text}: {seconds:.3f} s, predicted {both[0]:.3f} and {both[1]:.3f}; computing "
                    f"{work.compute_seconds:.3f} s, predicted alone {after.compute_seconds:.3f}; loading threads "
                    f"{work.load_seconds:.3f} s, predicted alone {after.decode_seconds:.3f}; "
                    f"waited {work.waited_seconds:.3f} s, predicted {after.waited_seconds:.3f}"
                )
                rows.append(
                    {
                        "vram_budget": text,
                        "measured": round(seconds, 4),
                        "predicted": [round(one, 4) for one in both],
                        "ratio": round(2 * seconds / sum(both), 3),
                        "steady": max(both) <= _STEADY * min(both),
                        "bound": after.bound,
                    }
                )
    medians = {}
    for text in args.vram_budget:
        mine = [row for row in rows if row["vram_budget"] == text]
        steady = [row["ratio"] for row in mine if row["steady"]]
        medians[text] = {
            "ratio": statistics.median(steady or [row["ratio"] for row in mine]),
            "of": f"{len(steady)} steady" if steady else f"{len(mine)} unsteady",
        }
    print(json.dumps({"weights": args.weights.name, "ram_budget": args.ram_budget, "workers": workers,
                      "steps": rows, "measured_by_predicted": medians}, indent=1))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
