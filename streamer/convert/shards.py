"""Which tensors go into which file when one file would be too large, and what the files are called."""

from __future__ import annotations

import json
import re
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


def index_text(places: Mapping[str, Path], total_nbytes: int) -> str:
    """The table: of each tensor its file, and the size of all tensors."""
    table = {key: path.name for key, path in places.items()}
    return json.dumps({"metadata": {"total_size": total_nbytes}, "weight_map": table}, indent=2)


def is_shard(path: Path, candidate: Path) -> bool:
    """Whether the candidate's name is that of a file into which weights for this path may be shared out."""
    pattern = re.escape(path.stem) + r"-\d{5,}-of-\d{5,}" + re.escape(path.suffix)
    return candidate.parent == path.parent and re.fullmatch(pattern, candidate.name) is not None


def shards_there(path: Path) -> set[Path]:
    """Files that are there and whose names are those of shards for this path."""
    return {candidate for candidate in path.parent.glob("*") if is_shard(path, candidate)}


def shards_indexed(path: Path) -> set[Path]:
    """The shards that the index of this path names; none if there is no index or it is damaged. Raises OSError."""
    try:
        table = json.loads(index_path(path).read_text(encoding="utf-8"))["weight_map"]
        names = {str(name) for name in table.values()}
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set()
    # A name with a folder in it isn't one that was written here.
    return {path.with_name(name) for name in names if is_shard(path, path.parent / name) and Path(name).name == name}
