"""Forwards of one U-Net, streamed or resident: seconds, stalls, peak memory, and a digest of the result.

    python benchmarks/stream_forward.py lattice.lzr2 --vram-budget 1GB
    python benchmarks/stream_forward.py lattice.safetensors --resident

Equal digests mean equal results, bit for bit. Peak memory is what the operating system counted for this process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# As the command line does, before torch reads it: a thread that decodes and one that spins want the same core.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import psutil
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from streamer.bench.memory import peak_resident_nbytes
from streamer.config import StreamSettings, parse_size
from streamer.models.host_memory import HostMemory, default_host_memory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.weights import open_weights

SDXL_CONFIG = sdxl_unet_config()


def inputs(config: dict[str, Any], pixels: int, batch: int) -> dict[str, Any]:
    """The same for every run: what a pipeline would pass."""
    random = torch.Generator().manual_seed(0)
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    return {
        "sample": torch.randn(batch, 4, pixels // 8, pixels // 8, generator=random),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(batch, 77, config["cross_attention_dim"], generator=random),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(batch, pooled, generator=random),
            "time_ids": torch.tensor([[pixels, pixels, 0, 0, pixels, pixels]] * batch, dtype=torch.float32),
        },
    }


def settings_of(vram_budget: str, ram_budget: str | None, workers: int) -> StreamSettings:
    """On a CPU, as `streamer gen` has them."""
    vram = parse_size(vram_budget)
    if ram_budget is None:
        host = default_host_memory("cpu", vram, int(psutil.virtual_memory().available))
    else:
        host = HostMemory(parse_size(ram_budget, least=0))
    return StreamSettings(
        vram,
        host.ram_budget_nbytes,
        workers,
        hold_only_smaller=host.hold_only_smaller,
        packed_ram_nbytes=host.packed_ram_nbytes,
    )


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
    seconds = []
    digest = ""
    for _ in range(args.steps):
        started = time.perf_counter()
        with torch.no_grad():
            result = unet(**inputs(config, args.pixels, args.batch)).sample
        seconds.append(round(time.perf_counter() - started, 3))
        digest = hashlib.sha256(result.numpy().tobytes()).hexdigest()[:16]
        assert torch.isfinite(result).all()
        print(f"step {len(seconds)}: {seconds[-1]} s", file=sys.stderr)
    report: dict[str, Any] = {
        "weights": args.weights.name,
        "ready_seconds": round(loaded, 2),
        "step_seconds": seconds,
        "peak_resident_nbytes": peak_resident_nbytes(),
        "resident_nbytes_before": before,
        "result_std": round(float(result.std()), 4),
        "result_sha256": digest,
    }
    if handle is not None:
        report |= {
            "device_nbytes": handle.device_nbytes,
            "streamed_nbytes_per_step": handle.plan.streamed_nbytes,
            "stall_shares": [round(step.stall_share, 4) for step in handle.stats.steps],
            "load_seconds": [round(step.work.load_seconds, 2) for step in handle.stats.steps],
            "most_waited": sorted(
                ((name, round(work.waited_seconds, 3)) for name, work in handle.stats.by_block.items()),
                key=lambda item: -item[1],
            )[:5],
        }
        handle.close()
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
