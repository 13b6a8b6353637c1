"""Which tensors go into which file when one file would be too large, and what the files are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def share_out(sizes: Mapping[str, int], most_nbytes: int) -> list[list[str]]:
    """The keys in their order, cut into the fewest runs of at most this size; a larger tensor is a run of its own.

    Args:
        sizes: bytes of each tensor.
        most_nbytes: of one file's tensors.
    """
    shards: list[list[str]] = [[]]
    room = most_nbytes
    for key, nbytes in sizes.items():
        if nbytes > room and shards[-1]:
            shards.append([])
            room = most_nbytes
        shards[-1].append(key)
        room -= nbytes
    return shards


def shard_path(path: Path, number: int, count: int) -> Path:
    """Where file ``number`` (from 1) of ``count`` goes: ``NAME-00001-of-00002.safetensors``, as the hub knows it."""
    return path if count == 1 else path.with_name(f"{path.stem}-{number:05}-of-{count:05}{path.suffix}")


def index_path(path: Path) -> Path:
    """Where the table goes that says which tensor is in which file."""
    return path.with_name(f"{path.name}.index.json")
