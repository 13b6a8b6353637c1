"""Writes a full-size SDXL U-Net with random weights: the stand-in for time and memory where the real one can't be had.

    python tools/make_synthetic_sdxl.py lattice.lzr2                       # lattice-heavy, about 0.8 GB
    python tools/make_synthetic_sdxl.py gaussian.lzr2 --weights gaussian   # overlay-heavy, about 20 GB
    python tools/make_synthetic_sdxl.py lattice.safetensors                # the same weights as in lattice.lzr2

Two sets of weights, each the same in both containers, bit for bit:

lattice    each row of a matrix or kernel lies on three values, but for 1 % of its weights
gaussian   ordinary normal weights, which a lattice can't carry: nearly all end up in the overlay

Scaled so that a forward gives finite values of order one. Memory stays below 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import UNet2DConditionModel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import lzr2
from streamer.bench.memory import peak_resident_nbytes
from streamer.convert.safetensors_file import write_safetensors
from streamer.models.sdxl import sdxl_unet_config

SDXL_CONFIG = sdxl_unet_config()
OVERLAY_SHARE = 0.01
BYTES_A_WEIGHT = {("lattice", ".lzr2"): 0.35, ("gaussian", ".lzr2"): 8.6}  # upper bounds, to check the disk beforehand

Half = npt.NDArray[np.float16]


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Key and shape of each of the U-Net's tensors, in the model's order."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    return {key: tuple(parameter.shape) for key, parameter in unet.named_parameters()}


def make_tensor(key: str, shape: tuple[int, ...], weights: str, seed: int) -> Half:
    """The tensor's weights; they depend on nothing but the arguments."""
    random = np.random.Generator(np.random.SFC64([seed, zlib.crc32(key.encode())]))
    if len(shape) == 1:
        # Norms scale by about one, biases are about zero.
        centre, spread = (1.0, 0.1) if "norm" in key and key.endswith("weight") else (0.0, 0.02)
        return (centre + spread * random.standard_normal(shape, np.float32)).astype(np.float16)
    rows, columns = shape[0], math.prod(shape[1:])
    spread = 1 / math.sqrt(columns)
    values = random.standard_normal((rows, columns), np.float32)
    values *= np.float32(spread)
    dense = values.astype(np.float16)
    if weights == "lattice":
        scale = (spread * math.sqrt(1.5) * random.uniform(0.9, 1.1, rows)).astype(np.float32)
        offset = random.uniform(-0.1, 0.1, rows).astype(np.float32)
        levels = ((np.arange(-1, 2, dtype=np.float32)[None] + offset[:, None]) * scale[:, None]).astype(np.float16)
        kept = random.random((rows, columns), np.float32) < OVERLAY_SHARE
        digits = random.integers(0, 3, (rows, columns), np.uint8)
        np.copyto(dense, np.take_along_axis(levels, digits, axis=1), where=~kept)
    return dense.reshape(shape)


def made_with_progress(shapes: dict[str, tuple[int, ...]], weights: str, seed: int) -> Iterator[tuple[str, Half]]:
    """All tensors one after the other; shows how far it is, by weights."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task(weights, total=sum(math.prod(shape) for shape in shapes.values()))
        for key, shape in shapes.items():
            yield key, make_tensor(key, shape, weights, seed)
            progress.advance(task, math.prod(shape))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a .lzr2 or .safetensors file")
    parser.add_argument("--weights", choices=["lattice", "gaussian"], default="lattice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=SDXL_CONFIG, help="a U-Net's config.json; default: SDXL's")
    args = parser.parse_args(arguments)

    if args.output.suffix not in (".lzr2", ".safetensors"):
        parser.error("the output's name ends in .lzr2 or .safetensors")
    if not args.config.is_file():
        parser.error(f"{args.config} is not a file; give a U-Net's config.json")
    shapes = tensor_shapes(json.loads(args.config.read_text("utf-8")))
    count = sum(math.prod(shape) for shape in shapes.values())
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{args.output.parent} can't be made: {error}")
    needed = int(count * BYTES_A_WEIGHT.get((args.weights, args.output.suffix), 2)) + (1 << 20)
    free = shutil.disk_usage(args.output.parent).free
    if free < needed:
        parser.error(f"{args.output.parent} has {free:,} bytes free; up to {needed:,} are needed: choose another disk")

    print(f"{len(shapes):,} tensors, {count:,} weights")
    started = time.monotonic()
    tensors = made_with_progress(shapes, args.weights, args.seed)
    if args.output.suffix == ".lzr2":
        lzr2.write_records(args.output, tensors)
    else:
        write_safetensors(args.output, shapes, tensors)
    peak = peak_resident_nbytes()
    size = args.output.stat().st_size
    print(
        f"{args.output}: {size:,} bytes, {size / count:.2f} bytes a weight, "
        f"{time.monotonic() - started:.0f} s, at most {peak / 1e9:.2f} GB of memory"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
