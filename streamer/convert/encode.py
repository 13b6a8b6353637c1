"""From any source of weights to LZR2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lzr2
from lzr2.encode import fit_tensor
from lzr2.fitted import FittedTensor
from lzr2.target import Target
from streamer.convert.ahead import ahead
from streamer.convert.arrays import Half, SourceArrays
from streamer.convert.sized import Fit, fit_to_size
from streamer.sources.base import WeightSource
from streamer.sources.fit import require_real_numbers

# Of the work on a tensor under a size, what is done when it was sampled, and when it was measured.
_SAMPLED, _MEASURED = 1 / 8, 5 / 8


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

    Under a size, the largest errors of all tensors together are made exact, or everything, if that fits. The source is
    then read three times (see `sized.fit_to_size`), otherwise once. The file is whole or not there.
    Memory: ``jobs`` + 1 tensors, 6 bytes a weight; under a size also about 30 KB and 8 bytes a row of every tensor.

    Args:
        source: of the weights.
        output: path of the LZR2 file.
        overlay_fraction: share of each tensor's weights that are kept exactly, 0 to 1; the rest is on three values.
        max_error: largest absolute error that a weight may keep.
        nbytes: most bytes of the file; one threshold of squared error per byte holds for all tensors.
        jobs: tensors worked on at once, each on a thread.
        on_bytes: told how many bytes of float16 were encoded since it was told last; a tensor that is worked on in
            several passes is told in as many parts.

    Raises:
        Lzr2Error: a limit makes no sense or can't be kept to, a tensor can't be encoded, or the file can't be written.
        StreamerError: the source is damaged.
    """
    arrays = SourceArrays(source)
    sizes = arrays.sizes()
    require_real_numbers(source, sizes)
    shapes = {key: source.info(key).shape for key in sizes}
    target = Target(overlay_fraction, max_error, nbytes)
    told = dict.fromkeys(sizes, 0)
    weights = entries = infinite = 0

    def reach(key: str, part: float) -> None:
        now = int(sizes[key] * part)
        on_bytes(now - told[key])
        told[key] = now

    with lzr2.Writer(output) as writer:
        fit: Fit = lambda key, values: fit_tensor(values, target)  # noqa: E731
        if target.nbytes is not None:
            fit = fit_to_size(
                arrays,
                shapes,
                target.nbytes,
                jobs=jobs,
                on_sampled=lambda key: reach(key, _SAMPLED),
                on_measured=lambda key: reach(key, _MEASURED),
            )

        def work(key: str, values: Half) -> tuple[FittedTensor, int]:
            return fit(key, values), int(np.count_nonzero(np.isinf(values)))

        for key, (fitted, n_infinite) in ahead(arrays, work, jobs):
            writer.add(key, fitted)
            weights += fitted.patterns.size
            entries += fitted.overlay_count
            infinite += n_infinite
            reach(key, 1)
    return Encoded(len(sizes), weights, entries, infinite)
