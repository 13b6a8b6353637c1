"""Decoding overlay-heavy tensors again, against reading them decoded from a spill file: seconds, cold and warm.

    python benchmarks/spill.py gaussian.lzr2 --most 600MB

Cold: the page cache was asked to forget the bytes before (posix_fadvise), which it does for what isn't being written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from streamer.config import parse_size
from streamer.sources.base import WeightSource
from streamer.sources.lzr2 import Lzr2Source
from streamer.tiers.spill import SpillTier, is_spillable


def seconds(source: WeightSource, outs: dict[str, torch.Tensor], *, cold: bool) -> float:
    """Of reading all of them, one after the other, on one thread."""
    if cold:
        for key in outs:
            source.wont_need(key)
    started = time.perf_counter()
    for key, out in outs.items():
        source.read_into(key, out)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--most", default="600MB", help="decoded bytes to measure with")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the spill file")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    source = Lzr2Source(args.weights)
    room = parse_size(args.most)
    outs: dict[str, torch.Tensor] = {}
    for key in source.keys():
        info = source.info(key)
        if is_spillable(info) and info.weights > 1 << 20 and (room := room - 2 * info.weights) >= 0:
            outs[key] = torch.empty(info.shape, dtype=torch.float16)
    stored = sum(source.info(key).stored_nbytes for key in outs)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        spill = SpillTier(source, Path(folder))
        spill.choose(outs)
        first = seconds(spill, outs, cold=False)
        os.sync()  # what is being written can't leave the page cache
        times: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            for name, tier in (("decoded", source), ("spilled", spill)):
                for cold in (True, False):
                    times.setdefault(f"{name}, {'cold' if cold else 'warm'}", []).append(seconds(tier, outs, cold=cold))
        spill.close()
    source.close()
    medians = {name: statistics.median(each) for name, each in times.items()}
    report = {
        "tensors": len(outs),
        "decoded_nbytes": sum(out.nbytes for out in outs.values()),
        "stored_nbytes": stored,
        "first_seconds": round(first, 3),
        **{name: round(each, 3) for name, each in medians.items()},
        "cold, decoded over spilled": round(medians["decoded, cold"] / medians["spilled, cold"], 2),
        "warm, decoded over spilled": round(medians["decoded, warm"] / medians["spilled, warm"], 2),
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
