"""From any source of weights to LZR2."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lzr2
from lzr2.allot import allot
from lzr2.encode import FittedTensor, Target, fit_tensor
from lzr2.errors import EncodeError
from streamer.convert.arrays import SourceArrays
from streamer.sources.base import WeightSource
from streamer.sources.fit import require_real_numbers


@dataclass(frozen=True)
class Encoded:
    """What was written.

    Attributes:
        tensors: number of them.
        weights: of all tensors.
        overlay_entries: weights that are exact because they are in the overlay.
        infinite: weights that are infinite in float16, which ends at 65,504.
    """

    tensors: int
    weights: int
    overlay_entries: int
    infinite: int


def encode(
    source: WeightSource,
    output: Path,
    *,
    overlay_fraction: float | None = None,
    max_error: float | None = None,
    nbytes: int | None = None,
    jobs: int = 1,
    on_bytes: Callable[[int], None] = lambda nbytes: None,
) -> Encoded:
    """The LZR2 file holds every tensor of the source: exactly its float16 values, unless one limit is given.

    The file is whole or not there. Memory: ``jobs`` + 1 tensors, 6 bytes a weight.

    Args:
        source: of the weights.
        output: path of the LZR2 file.
        overlay_fraction: share of each tensor's weights that are kept exactly, 0 to 1; the rest is on three values.
        max_error: largest absolute error that a weight may keep.
        nbytes: most bytes of the file; every tensor gets the same share of weights that are kept exactly.
        jobs: tensors worked on at once, each on a thread.
        on_bytes: told how many bytes of float16 were encoded since it was told last.

    Raises:
        Lzr2Error: a limit makes no sense, a tensor can't be encoded, or the file can't be written.
        StreamerError: the source is damaged.
    """
    arrays = SourceArrays(source)
    sizes = arrays.sizes()
    require_real_numbers(source, sizes)
    shapes = {key: source.info(key).shape for key in sizes}
    limits = allot(shapes, nbytes) if nbytes is not None else {}
    weights = entries = infinite = 0

    def fit(key: str) -> tuple[FittedTensor, int]:
        values = arrays[key]
        try:
            fitted = fit_tensor(values, Target(overlay_fraction, max_error, limits.get(key)))
        except EncodeError as error:
            error.key = key
            raise
        return fitted, int(np.count_nonzero(np.isinf(values)))

    with lzr2.Writer(output) as writer:
        for key, (fitted, n_infinite) in _ahead(list(sizes), fit, jobs):
            writer.add(key, fitted)
            weights += fitted.patterns.size
            entries += fitted.overlay_count
            infinite += n_infinite
            on_bytes(sizes[key])
    return Encoded(len(sizes), weights, entries, infinite)


def _ahead(
    keys: list[str], work: Callable[[str], tuple[FittedTensor, int]], jobs: int
) -> Iterator[tuple[str, tuple[FittedTensor, int]]]:
    """Each key with its result, in order; at most ``jobs`` are worked on beyond the one that is handed out."""
    waiting: deque[tuple[str, Future[tuple[FittedTensor, int]]]] = deque()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="streamer-encode")
    try:
        for key in keys:
            waiting.append((key, pool.submit(work, key)))
            if len(waiting) > jobs:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
