"""The demo's U-Net as an LZR2 file, made on first use in the user's cache directory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path
from safetensors.numpy import load_file

import lzr2
from streamer.models.demo.files import demo_directory


def demo_weights(cache_dir: Path | None = None, notify: Callable[[str], None] | None = None) -> Path:
    """The path of a complete LZR2 file with exactly the demo's U-Net; made if it isn't there or is damaged.

    Several processes may call this at once: each writes a file of its own and puts it in place whole.

    Args:
        cache_dir: where to keep it; None: the user's cache directory, or the temporary one if that can't be written.
        notify: told in one line when the file is being made.
    """
    packed = demo_directory() / "unet" / "diffusion_pytorch_model.safetensors"
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()[:16]
    folder = cache_dir if cache_dir is not None else _writable_cache()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"demo-unet-{digest}.lzr2"
    if not _is_whole(path, packed):
        if notify is not None:
            notify(f"Encoding the demo's U-Net losslessly to {path} (once)")
        lzr2.save_file(load_file(packed), path)
    return path


def _is_whole(path: Path, packed: Path) -> bool:
    """Whether the file has every record from the first to the last byte; its header says how large each is."""
    from safetensors import safe_open

    if not path.is_file():
        return False
    try:
        with lzr2.open(path) as file, safe_open(packed, framework="numpy") as wanted:
            return set(file.keys()) == set(wanted.keys())
    except lzr2.Lzr2Error:
        return False


def _writable_cache() -> Path:
    folder = user_cache_path("lzr2-streamer")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.gettempdir()) / "lzr2-streamer"
