"""From any source of weights to safetensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lzr2.temporary import Draft, require_replaceable, sync_folder
from streamer.convert.arrays import SourceArrays
from streamer.convert.safetensors_file import RESERVED_KEY, write_tensors
from streamer.convert.selection import weights_among
from streamer.convert.shards import (
    index_path,
    index_text,
    shard_path,
    shards_indexed,
    shards_there,
    share_out,
)
from streamer.errors import SettingError, printable
from streamer.sources.base import WeightSource

SHARD_NBYTES = 5_000_000_000  # the hub's convention


def export(
    source: WeightSource,
    output: Path,
    *,
    keys: Sequence[str] = (),
    shard_nbytes: int = SHARD_NBYTES,
    on_bytes: Callable[[int], None] = lambda nbytes: None,
    warn: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """The files hold exactly the source's float16 values, or what was there is untouched. Returns them, index last.

    Weights above ``shard_nbytes`` go into several files with an index beside them, as the hub has it. Only when all are
    on the disk do they take their places, for which those of an earlier export to the same path go first, its index
    before all. Ended the hard way in that moment, there are some of the new files and no index: never an index that
    names half-made weights, never old weights beside new ones. Memory: one tensor. Disk: old and new at once.

    Args:
        source: of the weights.
        output: path of the safetensors file.
        keys: patterns such as ``down_blocks.*``; a tensor that fits any of them is taken. None: all are.
        shard_nbytes: most bytes of tensors in one file.
        on_bytes: told how many bytes of tensors were written since it was told last.
        warn: told what is left out because it is no weight, a line for each reason.

    Raises:
        SettingError: no key fits, or one of the patterns fits none; a key is one that safetensors reserves; shards of
            other weights, which no index names, would lie beside the new ones.
        StreamerError: the source is damaged, or holds no weights.
        OSError: a file can't be written.
    """
    require_replaceable(output)
    arrays = SourceArrays(source)
    sizes = _selected(source, keys, warn)
    shards = share_out(sizes, shard_nbytes)
    paths = [shard_path(output, number, len(shards)) for number in range(1, len(shards) + 1)]
    old = _earlier(output, paths)

    def tensors(shard: list[str]) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
        for key in shard:
            yield key, arrays[key]
            on_bytes(sizes[key])

    with ExitStack() as stack:
        drafts = []
        for path, shard in zip(paths, shards, strict=True):
            drafts.append(stack.enter_context(Draft(path)))
            write_tensors(drafts[-1].file, {key: source.info(key).shape for key in shard}, tensors(shard))
            drafts[-1].finish()
        if len(shards) > 1:
            places = {key: path for path, shard in zip(paths, shards, strict=True) for key in shard}
            paths.append(index_path(output))
            drafts.append(stack.enter_context(Draft(paths[-1])))
            drafts[-1].file.write(index_text(places, sum(sizes.values())).encode())
            drafts[-1].finish()
        _remove(output, old, paths)
        for draft in drafts:
            draft.put_in_place()
    return paths


def selected_nbytes(source: WeightSource, keys: Sequence[str] = ()) -> int:
    """Bytes in float16 of the tensors that `export` would take. Raises as it does."""
    return sum(_selected(source, keys).values())


def _selected(
    source: WeightSource, patterns: Sequence[str], warn: Callable[[str], None] = lambda line: None
) -> dict[str, int]:
    """Bytes in float16 of each tensor to be taken."""
    fitting = [key for key in source.keys() if not patterns or any(fnmatchcase(key, p) for p in patterns)]
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in fitting):
            raise SettingError(
                f"No tensor's key fits {printable(ascii(pattern))}.",
                "'streamer info FILE' lists the keys. A '[' in a key is '[[]' in a pattern.",
            )
    if RESERVED_KEY in fitting:
        raise SettingError(
            f"There is a tensor called {RESERVED_KEY}, a name that safetensors keeps for itself.",
            "Choose the others with --key.",
        )
    return {key: 2 * source.info(key).weights for key in weights_among(source, fitting, scalars=True, warn=warn)}


def _earlier(output: Path, paths: Sequence[Path]) -> set[Path]:
    """The files of an earlier export to this path that the new one, to these paths, doesn't just replace one by one."""
    indexed = shards_indexed(output)
    strange = sorted(shards_there(output) - indexed - set(paths))
    if strange:
        raise SettingError(
            f"{printable(str(strange[0]))} is there, a part of other weights; whoever reads the folder would take it "
            "for a part of these.",
            "Remove it, or name another output.",
        )
    # One file in the place of one is replaced in a single step: at no moment is there none.
    return (indexed | {output, *paths}) - ({output} if len(paths) == 1 else set())


def _remove(output: Path, old: set[Path], new: Sequence[Path]) -> None:
    """The index first, and for good, before any of the files that it names."""
    index_path(output).unlink(missing_ok=True)
    sync_folder(output.parent)
    for path in old:
        # Where a new file will follow a symbolic link, the link stays and its target goes.
        (Path(os.path.realpath(path)) if path in new else path).unlink(missing_ok=True)
    sync_folder(output.parent)
