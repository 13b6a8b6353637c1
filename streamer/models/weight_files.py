"""Which files of a folder are one set of weights. Loads no library."""

from __future__ import annotations

from pathlib import Path

from streamer.errors import WeightsFileError

DIFFUSERS_STEM = "diffusion_pytorch_model"
"""How diffusers begins the names of its own models' weight files."""


def diffusers_files(folder: Path, stem: str = DIFFUSERS_STEM) -> tuple[Path, ...]:
    """The safetensors files of a part in diffusers' naming, plain ones first choice; empty if there are none.

    Args:
        folder: of the part.
        stem: of the files' names.
    """
    for variant in (stem, f"{stem}.fp16"):
        if (folder / f"{variant}.safetensors").is_file():
            return (folder / f"{variant}.safetensors",)
        shards = sorted(folder.glob(f"{variant}-[0-9]*-of-[0-9]*.safetensors"))
        if shards:
            return tuple(shards)
    return ()


def files_of_folder(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of one set of weights: where there are several sets, as in a U-Net's folder, the plain one.

    Args:
        folder: that may hold one file, shards, or both a plain and a half-precision set in diffusers' naming.

    Raises:
        WeightsFileError: there is none.
    """
    files = diffusers_files(folder) or tuple(sorted(folder.glob("*.safetensors")))
    if not files:
        raise WeightsFileError(
            str(folder), "a directory without safetensors files", "Give a file, or the unet folder of a model."
        )
    return files
