"""From any source of weights to safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lzr2.temporary import create_beside
from streamer.convert.arrays import SourceArrays
from streamer.convert.safetensors_file import write_safetensors
from streamer.convert.shards import index_path, shard_path, share_out
from streamer.errors import SettingError
from streamer.sources.base import WeightSource

SHARD_NBYTES = 5_000_000_000  # the hub's convention


def export(
    source: WeightSource,
    output: Path,
    *,
    keys: Sequence[str] = (),
    shard_nbytes: int = SHARD_NBYTES,
    on_bytes: Callable[[int], None] = lambda nbytes: None,
) -> list[Path]:
    """The files hold exactly the source's float16 values; each is whole or not there. Returns them, index last.

    Weights above ``shard_nbytes`` go into several files with an index beside them, as the hub has it. The index is
    written last: as long as it isn't there, neither are the weights. Memory: one tensor.

    Args:
        source: of the weights.
        output: path of the safetensors file.
        keys: patterns such as ``down_blocks.*``; a tensor that fits any of them is taken. None: all are.
        shard_nbytes: most bytes of tensors in one file.
        on_bytes: told how many bytes of tensors were written since it was told last.

    Raises:
        SettingError: no key fits, or one of the patterns fits none.
        StreamerError: the source is damaged.
        OSError: a file can't be written.
    """
    arrays = SourceArrays(source)
    sizes = {key: nbytes for key, nbytes in arrays.sizes().items() if _fits(key, keys)}
    for pattern in keys:
        if not any(fnmatchcase(key, pattern) for key in sizes):
            raise SettingError(f"No tensor's key fits {pattern!r}.", "'streamer info FILE' lists the keys.")
    shards = share_out(sizes, shard_nbytes)

    def tensors(shard: list[str]) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
        for key in shard:
            yield key, arrays[key]
            on_bytes(sizes[key])

    written = []
    for number, shard in enumerate(shards, start=1):
        path = shard_path(output, number, len(shards))
        write_safetensors(path, {key: source.info(key).shape for key in shard}, tensors(shard))
        written.append(path)
    if len(shards) > 1:
        table = {key: path.name for path, shard in zip(written, shards, strict=True) for key in shard}
        _write_text(
            index_path(output),
            json.dumps({"metadata": {"total_size": sum(sizes.values())}, "weight_map": table}, indent=2),
        )
        written.append(index_path(output))
    return written


def selected_nbytes(source: WeightSource, keys: Sequence[str] = ()) -> int:
    """Bytes in float16 of the tensors that `export` would take."""
    return sum(2 * source.info(key).weights for key in source.keys() if _fits(key, keys))


def _fits(key: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)


def _write_text(path: Path, text: str) -> None:
    fd, partial = create_beside(path)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
