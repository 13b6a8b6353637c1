"""The demo's U-Net as an LZR2 file, made on first use in the user's cache directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from safetensors import safe_open
from safetensors.numpy import load_file

import lzr2
from lzr2.errors import IoFailedError
from lzr2.file_source import open_source
from lzr2.index import Index
from streamer.errors import WeightsFileError
from streamer.models.demo.files import UNET_SHA256, demo_directory


def demo_weights(cache_dir: Path | None = None, notify: Callable[[str], None] | None = None) -> Path:
    """The path of an LZR2 file that holds the demo's U-Net bit for bit; made if it isn't there or was changed.

    A file that its index describes is as it was made; without a valid index it is compared with the packaged weights
    tensor by tensor, so that a damaged one never draws. Several processes may call this at once: each writes a file of
    its own, and the first to end puts it in place whole for all of them. Memory: the packaged weights (19 MB) and,
    while encoding, at most twice the largest tensor.

    Args:
        cache_dir: where to keep it; None: the user's cache directory, or a temporary one if that can't be written.
        notify: told in one line when the file is being made, and where.

    Raises WeightsFileError where the file isn't there and can't be written.
    """
    packed = demo_directory() / "unet" / "diffusion_pytorch_model.safetensors"
    name = f"demo-unet-{UNET_SHA256[:16]}.lzr2"
    folders = [cache_dir] if cache_dir is not None else [user_cache_path("lzr2-streamer"), _temporary_folder()]
    for folder in folders:
        if _is_as_made(folder / name) or _is_exact(folder / name, packed):
            return folder / name
    failures = []
    for folder in folders:
        try:
            _require_writable(folder)
            if notify is not None:
                notify(f"Encoding the demo's U-Net losslessly to {folder / name} (once)")
            _make(folder / name, packed)
            return folder / name
        except (OSError, IoFailedError) as error:
            failures.append(str(error))
    raise WeightsFileError(
        str(folders[0] / name),
        f"the demo's weights can't be written: {'; '.join(failures)}.",
        "Free 80 MB there, or set XDG_CACHE_HOME or TMPDIR to a folder that can be written.",
    )


def _make(path: Path, packed: Path) -> None:
    """The packaged weights are at the path, with an index; a good file that another process made first stays."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        lzr2.save_file(load_file(packed), made)
        # Whoever came first may be drawing from its file already, and must not find it replaced.
        if not _placed_where_none_was(made, path) and not _is_exact(path, packed):
            made.replace(path)
    if not _is_as_made(path):
        Index.open(path)


def _placed_where_none_was(made: Path, path: Path) -> bool:
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if path.exists():
            return False
        made.replace(path)
    return True


def _is_as_made(path: Path) -> bool:
    """Whether an index was kept of exactly this file: only of one that was found exact is it, in this folder."""
    try:
        with contextlib.closing(open_source(path)) as source:
            return Index.saved(source) is not None
    except lzr2.Lzr2Error:
        return False


def _is_exact(path: Path, packed: Path) -> bool:
    """Whether the file holds the packaged weights and nothing else, compared as bits: NaNs and zeros' signs count."""
    try:
        if not path.is_file():
            return False
        with lzr2.open(path, sidecar=False) as made, safe_open(packed, framework="numpy") as wanted:
            keys = wanted.keys()
            exact = set(made.keys()) == set(keys) and all(
                made.shape(key) == (tensor := wanted.get_tensor(key)).shape
                and np.array_equal(made.get_tensor(key).view(np.uint16), tensor.view(np.uint16))
                for key in keys
            )
        if exact:
            Index.open(path)
        return exact
    except (OSError, lzr2.Lzr2Error):
        return False


def _require_writable(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _temporary_folder() -> Path:
    # The temporary directory is often everybody's: one folder a user, so that nobody waits on another's rights.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"lzr2-streamer{user}"
