"""Forwards of one U-Net, streamed or resident: seconds, stalls, peak memory, and a digest of the result.

    python benchmarks/stream_forward.py lattice.lzr2 --vram-budget 1GB
    python benchmarks/stream_forward.py lattice.safetensors --resident

Equal digests mean equal results, bit for bit. Peak memory is what the operating system counted for this process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As the command line does, before torch reads it: a thread that decodes and one that spins want the same core.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from streamer.available_memory import available_nbytes
from streamer.bench.memory import peak_resident_nbytes
from streamer.bench.step_inputs import step_inputs
from streamer.bench.streamed_steps import digest, streamed_steps
from streamer.config import StreamSettings, parse_size
from streamer.models.host_memory import HostMemory, default_host_memory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.unet_inputs import StepShape
from streamer.models.weights import open_weights

SDXL_CONFIG = sdxl_unet_config()


def inputs(config: dict[str, Any], pixels: int, batch: int) -> dict[str, Any]:
    """The same for every run: what a pipeline would pass."""
    return step_inputs(config, StepShape(pixels // 8, pixels // 8, batch))


def settings_of(vram_budget: str, ram_budget: str | None, workers: int) -> StreamSettings:
    """On a CPU, as `streamer gen` has them."""
    vram = parse_size(vram_budget)
    if ram_budget is None:
        host = default_host_memory("cpu", vram, available_nbytes())
    else:
        host = HostMemory(parse_size(ram_budget, least=0))
    return StreamSettings(
        vram,
        host.ram_budget_nbytes,
        workers,
        hold_only_smaller=host.hold_only_smaller,
        packed_ram_nbytes=host.packed_ram_nbytes,
        load_in_pauses=True,
    )


def resident_steps(
    unet: Any, arguments: dict[str, Any], steps: int, tell: Callable[[int, float], None]
) -> dict[str, Any]:
    """Seconds and result of forwards of a U-Net that is in memory."""
    seconds = []
    result = torch.zeros(0)
    for number in range(1, steps + 1):
        started = time.perf_counter()
        with torch.no_grad():
            result = unet(**arguments).sample
        seconds.append(round(time.perf_counter() - started, 3))
        tell(number, seconds[-1])
    assert torch.isfinite(result).all()
    return {
        "step_seconds": seconds,
        "result_std": round(float(result.std()), 4),
        "result_sha256": digest(result),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG)
    parser.add_argument("--vram-budget", default="1GB")
    parser.add_argument("--ram-budget", default=None, help="default: as `streamer gen`")
    parser.add_argument("--threads", type=int, default=2, help="decode threads; 0: no prefetch")
    parser.add_argument("--io", default="auto")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--resident", action="store_true", help="load everything first, without streaming")
    args = parser.parse_args()

    config = json.loads(args.config.read_text("utf-8"))
    before = peak_resident_nbytes()
    started = time.perf_counter()
    handle = None
    if args.resident:
        unet = UNet2DConditionModel.from_config(config).eval()
        unet.load_state_dict(load_file(args.weights))
    else:
        unet = empty_unet(config)
        source = open_weights(args.weights, (), expected_tensors(unet), strict=True, io=args.io, warn=print)
        settings = settings_of(args.vram_budget, args.ram_budget, args.threads)
        handle = stream_unet(unet, source, settings, torch.device("cpu"), torch.float32)
    loaded = time.perf_counter() - started
    arguments = inputs(config, args.pixels, args.batch)

    def tell(number: int, seconds: float) -> None:
        print(f"step {number}: {seconds:.3f} s", file=sys.stderr)

    if handle is None:
        report = resident_steps(unet, arguments, args.steps, tell)
    else:
        steps = streamed_steps(unet, handle, arguments, args.steps, tell)
        assert steps.finite
        report = {
            "step_seconds": [round(seconds, 3) for seconds in steps.seconds],
            "result_std": round(steps.spread, 4),
            "result_sha256": steps.digest,
            "device_nbytes": steps.device_nbytes,
            "streamed_nbytes_per_step": steps.streamed_nbytes,
            "stall_shares": [round(step.stall_share, 4) for step in steps.stats],
            "load_seconds": [round(step.work.load_seconds, 2) for step in steps.stats],
            "most_waited": [(name, round(seconds, 3)) for name, seconds in steps.most_waited],
        }
        handle.close()
    report = {
        "weights": args.weights.name,
        "ready_seconds": round(loaded, 2),
        "peak_resident_nbytes": peak_resident_nbytes(),
        "resident_nbytes_before": before,
    } | report
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
