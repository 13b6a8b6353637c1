"""The files of the U-Net that is compared: given for the full-size one, made for the demo's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import lzr2
from benchmarks.compare.runtimes import GAUSSIAN, LATTICE, Runtime

_ROOT = Path(__file__).parents[2]
_MODELS = _ROOT / "streamer" / "models"
CONFIGS = {
    "full": _MODELS / "sdxl" / "unet" / "config.json",
    "demo": _MODELS / "demo" / "pipeline" / "unet" / "config.json",
}
SUFFIXES = (".safetensors", ".lzr2")
_MAKER = _ROOT / "tools" / "make_synthetic_sdxl.py"


@dataclass(frozen=True)
class ModelFiles:
    """Where the files are.

    Attributes:
        config: of the U-Net.
        folder: with ``lattice`` and ``gaussian``, each as ``.lzr2`` and ``.safetensors``.
        models: a folder for directories in diffusers layout that link to them.
    """

    config: Path
    folder: Path
    models: Path

    def all(self) -> list[Path]:
        """The four files, there or not."""
        return [self.folder / f"{weights}{suffix}" for weights in (LATTICE, GAUSSIAN) for suffix in SUFFIXES]

    def weights(self, runtime: Runtime) -> Path:
        """The file that this project's U-Net streams from."""
        return self.folder / f"{runtime.weights}{runtime.container}"

    def model(self, runtime: Runtime) -> Path:
        """A directory from which diffusers loads this set of weights."""
        directory = self.models / runtime.weights
        if not directory.is_dir():
            directory.mkdir(parents=True)
            (directory / "config.json").write_bytes(self.config.read_bytes())
            weights = directory / "diffusion_pytorch_model.safetensors"
            try:
                weights.symlink_to((self.folder / f"{runtime.weights}.safetensors").resolve())
            except OSError:  # Windows lets not everybody
                place(self.folder / f"{runtime.weights}.safetensors", weights)
        return directory

    def missing(self, runtime: Runtime) -> list[str]:
        """Names of the files that this runtime needs and that aren't there."""
        suffixes = {runtime.container} if runtime.kind == "this project" else {".safetensors"}
        names = [f"{runtime.weights}{suffix}" for suffix in sorted(suffixes)]
        return [name for name in names if not (self.folder / name).is_file()]


def count_weights(path: Path) -> int:
    """How many weights an LZR2 file has, or a safetensors file of float16."""
    if path.suffix == ".lzr2":
        return lzr2.Index.open(path).n_weights
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return (path.stat().st_size - 8 - header) // 2


def place(file: Path, other: Path) -> None:
    """The file is also at another place, as a second name of it where that can be, else as a copy.

    Raises:
        OSError: neither can be.
    """
    try:
        other.hardlink_to(file)
    except OSError:  # another file system, or one without such names
        shutil.copyfile(file, other)


def make_files(config: Path, folder: Path) -> None:
    """Writes those of the four files that aren't there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in ModelFiles(config, folder, folder).all():
        if not path.is_file():
            command = [sys.executable, str(_MAKER), str(path), "--weights", path.stem, "--config", str(config)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
