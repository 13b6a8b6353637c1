"""Writes everything of a full-size SDXL pipeline but the U-Net, with random weights: a directory in diffusers layout.

    python tools/make_synthetic_pipeline.py sdxl/          # 1.9 GB: text encoders and VAE in float16
    streamer gen "anything" --model sdxl/ --weights lattice.lzr2 --vram-budget 2GB

With the U-Net of make_synthetic_sdxl.py it is the stand-in for time and memory where the real one can't be had; its
pictures are noise. Tokenizers are the embedded demo's. Memory stays below 1 GB.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from make_synthetic_sdxl import Half, make_tensor  # type: ignore[import-not-found]  # found where a script lies
from rich.progress import track
from torch import nn

from streamer.convert.safetensors_file import write_safetensors
from streamer.models.demo import demo_directory
from streamer.models.sdxl import sdxl_unet_config
from streamer.models.text_encoder import empty_text_encoder
from streamer.models.vae import empty_vae

CONFIGS = Path(__file__).parent / "sdxl" / "pipeline"
UNET_CONFIG = sdxl_unet_config()
FILES = {
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


def empty_part(part: str, config: dict[str, Any], index: dict[str, Any]) -> nn.Module:
    """The module without memory."""
    if part == "vae":
        vae: nn.Module = empty_vae(config, "synthetic")
        return vae
    return empty_text_encoder(index[part][1], config, "synthetic")


def published_key(part: str, key: str) -> str:
    """The key as in the files that are on the hub, which are older than the library's own names."""
    return f"text_model.{key}" if part == "text_encoder" and not key.startswith("text_model.") else key


def made(part: str, shapes: dict[str, tuple[int, ...]], seed: int) -> Iterator[tuple[str, Half]]:
    """All tensors of the part, one after the other, with progress."""
    for key, shape in track(shapes.items(), part, total=len(shapes)):
        tensor = make_tensor(f"{part}.{key}", shape, "gaussian", seed)
        # Without trained weights an embedding as large as one would drown what follows.
        yield key, np.float16(0.02 * math.sqrt(shape[-1])) * tensor if "embedding" in key else tensor


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a directory; made if it isn't there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configs", type=Path, default=CONFIGS, help="a pipeline's directory; default: SDXL's")
    parser.add_argument("--unet-config", type=Path, default=UNET_CONFIG)
    args = parser.parse_args(arguments)

    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        parser.error(f"{args.output} is there and isn't an empty directory")
    args.output.mkdir(parents=True, exist_ok=True)
    index = json.loads((args.configs / "model_index.json").read_text("utf-8"))
    for part in ("scheduler", *FILES):
        shutil.copytree(args.configs / part, args.output / part, ignore=shutil.ignore_patterns("*.safetensors"))
    for part in ("tokenizer", "tokenizer_2"):
        shutil.copytree(demo_directory() / part, args.output / part)
    (args.output / "unet").mkdir()
    shutil.copyfile(args.unet_config, args.output / "unet" / "config.json")
    for part, file in FILES.items():
        config = json.loads((args.configs / part / "config.json").read_text("utf-8"))
        parameters = empty_part(part, config, index).named_parameters()
        shapes = {published_key(part, key): tuple(parameter.shape) for key, parameter in parameters}
        write_safetensors(args.output / part / file, shapes, made(part, shapes, args.seed))
        print(f"{args.output / part / file}: {(args.output / part / file).stat().st_size:,} bytes")
    shutil.copyfile(args.configs / "model_index.json", args.output / "model_index.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
