"""Steps of a streamed U-Net and of the same model resident, in turn, in one process: the ratio of their times.

    python -m benchmarks.stream_against_resident lattice.lzr2 lattice.safetensors --vram-budget 1GB

Taking turns, both see the same noise of a shared machine. Results have to be equal bit for bit, or it stops. Memory is
measured by `stream_forward.py`, in a process that holds nothing else.
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
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from benchmarks.stream_forward import SDXL_CONFIG, inputs, settings_of
from streamer.models.device import decode_workers
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.weights import open_weights


def timed(unet: Any, arguments: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Seconds and result of one forward."""
    started = time.perf_counter()
    with torch.no_grad():
        result = unet(**arguments).sample
    return time.perf_counter() - started, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="streamed")
    parser.add_argument("resident", type=Path, help="the same weights as safetensors")
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG)
    parser.add_argument("--vram-budget", default="1GB")
    parser.add_argument("--ram-budget", default=None, help="default: as `streamer gen`")
    parser.add_argument("--threads", type=int, default=None, help="decode threads; default: as `streamer gen`")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5, help="the first isn't counted")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: the first isn't counted, so at least 2")

    device = torch.device("cpu")
    config = json.loads(args.config.read_text("utf-8"))
    resident = UNet2DConditionModel.from_config(config).eval()
    resident.load_state_dict(load_file(args.resident))
    streamed = empty_unet(config)
    source = open_weights(args.weights, (), expected_tensors(streamed), strict=True, io="auto", warn=print)
    workers = decode_workers(device) if args.threads is None else args.threads
    settings = settings_of(args.vram_budget, args.ram_budget, workers)
    arguments = inputs(config, args.pixels, 1)
    rows: list[dict[str, float]] = []
    with stream_unet(streamed, source, settings, device, torch.float32) as handle:
        for step in range(args.steps):
            resident_seconds, expected = timed(resident, arguments)
            streamed_seconds, result = timed(streamed, arguments)
            if not torch.equal(result, expected):
                sys.exit("the results differ")
            stats = handle.stats.steps[-1]
            rows.append(
                {
                    "resident_seconds": round(resident_seconds, 3),
                    "streamed_seconds": round(streamed_seconds, 3),
                    "ratio": round(streamed_seconds / resident_seconds, 3),
                    "waited_seconds": round(stats.work.waited_seconds, 3),
                    "load_thread_seconds": round(stats.work.load_seconds, 3),
                }
            )
            print(f"step {step + 1}: {rows[-1]}", file=sys.stderr)
    ratios = [row["ratio"] for row in rows[1:]]
    report = {
        "weights": args.weights.name,
        "vram_budget": args.vram_budget,
        "ram_budget": args.ram_budget or "default",
        "decode_threads": workers,
        "torch_threads": torch.get_num_threads(),
        "steps": rows,
        "median_ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
