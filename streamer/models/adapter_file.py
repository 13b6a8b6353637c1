"""Small weight files that change a model: read whole, and never as pickles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from streamer.errors import WeightsFileError
from streamer.sources.fit import require_real_numbers
from streamer.sources.safetensors import SafetensorsSource

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_LARGEST_NBYTES = 8 << 30
_CHUNK = 1 << 22


@dataclass(frozen=True)
class AdapterFile:
    """What is in the file.

    Attributes:
        path: of the file.
        sha256: of its bytes, in hexadecimal digits.
        tensors: by key, in host memory, in the file's types.
    """

    path: Path
    sha256: str
    tensors: dict[str, torch.Tensor] = field(repr=False, compare=False)


def require_no_pickle(path: Path) -> None:
    """Returns only if the name doesn't say that opening the file would run what is in it.

    Raises:
        WeightsFileError: it does.
    """
    if path.suffix.lower() in _PICKLES:
        raise WeightsFileError(
            str(path),
            f"a {path.suffix} file is a Python pickle, which can run any program when it is opened; it isn't opened.",
            "Most are offered as .safetensors too: take that one.",
        )


def read_adapter(path: Path) -> AdapterFile:
    """All tensors of a safetensors file.

    Args:
        path: of the file.

    Raises:
        WeightsFileError: it isn't there, isn't safetensors, or is damaged.
    """
    require_no_pickle(path)
    if path.is_dir():
        raise WeightsFileError(str(path), "this is a directory.", "Give the safetensors file that is in it.")
    source = SafetensorsSource([path])
    try:
        nbytes = sum(source.info(key).stored_nbytes for key in source.keys())
        if nbytes > _LARGEST_NBYTES:
            raise WeightsFileError(str(path), "it is larger than any adapter: more than 8 GiB.", "Is it a whole model?")
        require_real_numbers(source, [key for key in source.keys() if source.info(key).shape])
        tensors: dict[str, torch.Tensor] = {}
        for key in source.keys():
            info = source.info(key)
            tensors[key] = torch.empty(info.shape, dtype=info.dtype, device="cpu")
            source.read_into(key, tensors[key])
    finally:
        source.close()
    return AdapterFile(path, _sha256(path), tensors)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
