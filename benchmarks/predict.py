"""Predicts a streamed step of one U-Net, then makes some, and tells how far off the prediction was.

    python -m benchmarks.predict lattice.lzr2 --vram-budget 1GB --pixels 512
    python -m benchmarks.predict demo.lzr2 --config streamer/models/demo/pipeline/unet/config.json --pixels 128

The machine is measured for the prediction right before the steps and again right after: on a shared machine the two
tell how much it changed meanwhile. `ratio` is of the measured step to the mean of both predictions; `others` the
processors that other programs used in each of the three phases.
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

import psutil
import torch

from benchmarks.stream_forward import SDXL_CONFIG, inputs
from streamer.bench.forecast import Outlook, forecast
from streamer.bench.unet_calls import StepShape
from streamer.config import StreamSettings, parse_size
from streamer.models.defaults import Defaults
from streamer.models.device import decode_workers
from streamer.models.directory import ModelDirectory
from streamer.models.open import OpenedUnet
from streamer.models.unet import empty_unet, expected_tensors, stream_unet
from streamer.models.weights import open_weights


class Others:
    """Processors that other programs use, from one call to the next."""

    def __init__(self) -> None:
        self._before = self._read()
        self.seen: list[float] = []

    def look(self) -> None:
        """Notes how many since the last call."""
        now = self._read()
        clock, busy = (later - earlier for later, earlier in zip(now, self._before, strict=True))
        self.seen.append(round(max(0.0, busy / clock), 2))
        self._before = now

    def _read(self) -> tuple[float, float]:
        machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return time.perf_counter(), sum(machine) - idle - own.user - own.system


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG)
    parser.add_argument("--vram-budget", default="1GB")
    parser.add_argument("--ram-budget", default="0")
    parser.add_argument("--threads", type=int, default=None, help="decode threads; default: as `streamer gen`")
    parser.add_argument("--pixels", type=int, default=512, help="eight times the latent's side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4, help="the first isn't compared with steps of steady state")
    args = parser.parse_args()

    device, dtype = torch.device("cpu"), torch.float32
    config = json.loads(args.config.read_text("utf-8"))
    workers = decode_workers(device) if args.threads is None else args.threads
    settings = StreamSettings(parse_size(args.vram_budget), parse_size(args.ram_budget, least=0), workers)
    unet = empty_unet(config)
    source = open_weights(args.weights, (), expected_tensors(unet), strict=True, io="auto", warn=print)
    smallest = min(source.keys(), key=lambda key: source.info(key).weights)
    source.read_into(smallest, torch.empty(source.info(smallest).shape))  # compiles the decoder
    directory = ModelDirectory(args.config.stem, args.config.parent, None)
    opened = OpenedUnet(directory, unet, source, settings, device, dtype, Defaults())

    def predicted() -> Outlook:
        started = time.perf_counter()
        outlook = forecast(opened, StepShape(args.pixels // 8, args.pixels // 8, args.batch)).at(
            settings.vram_budget_nbytes
        )
        prediction = outlook.prediction
        print(
            f"predicted {prediction.step_seconds:.3f} s a step (first {prediction.first_step_seconds:.3f} s), "
            f"computing {prediction.compute_seconds:.3f} s, decoding {prediction.decode_seconds:.3f} s; "
            f"in {time.perf_counter() - started:.1f} s",
            file=sys.stderr,
        )
        return outlook

    others = Others()
    before = predicted().prediction
    others.look()
    seconds: list[float] = []
    arguments = inputs(config, args.pixels, args.batch)
    handle = stream_unet(unet, source, settings, device, dtype)
    for _ in range(args.steps):
        started = time.perf_counter()
        with torch.no_grad():
            unet(**arguments)
        seconds.append(time.perf_counter() - started)
        print(f"step {len(seconds)}: {seconds[-1]:.3f} s", file=sys.stderr)
    others.look()
    # The weights stay open for the second prediction: only the engine is closed.
    handle._engine.close()
    opened = OpenedUnet(directory, empty_unet(config), source, settings, device, dtype, Defaults())
    after = predicted().prediction
    source.close()
    others.look()

    works = [step.work for step in handle.stats.steps[1:]]
    measured = statistics.median(seconds[1:] or seconds)
    expected = (before.step_seconds + after.step_seconds) / 2
    report: dict[str, Any] = {
        "weights": args.weights.name,
        "vram_budget": args.vram_budget,
        "ram_budget": args.ram_budget,
        "workers": workers,
        "step_seconds": [round(s, 4) for s in seconds],
        "predicted_before": round(before.step_seconds, 4),
        "predicted_after": round(after.step_seconds, 4),
        "ratio": round(measured / expected, 3),
        "ratio_before": round(measured / before.step_seconds, 3),
        "ratio_first_step": round(2 * seconds[0] / (before.first_step_seconds + after.first_step_seconds), 3),
        "others": others.seen,
        "bound": before.bound,
        "predicted_waiting": round((before.waited_seconds + after.waited_seconds) / 2, 4),
        "measured_waiting": round(statistics.median(work.waited_seconds for work in works), 4) if works else None,
        "predicted_decode": [round(p.decode_seconds, 3) for p in (before, after)],
        "measured_load_threads": round(statistics.median(work.load_seconds for work in works), 4) if works else None,
        "predicted_compute": [round(p.compute_seconds, 3) for p in (before, after)],
        "measured_compute": round(statistics.median(work.compute_seconds for work in works), 4) if works else None,
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
