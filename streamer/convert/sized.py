"""How to keep to the size of a file and lose least: found out from all its tensors before any is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from lzr2 import allot
from lzr2.allot import Measured
from lzr2.encode import PERHAPS, fit_tensor
from lzr2.fitted import FittedTensor, patterns_of
from lzr2.sample import Sample, limit_for, limit_of
from lzr2.target import Target
from streamer.convert.ahead import ahead
from streamer.convert.arrays import Half

Fit = Callable[[str, Half], FittedTensor]
OnKey = Callable[[str], None]


def fit_to_size(
    arrays: Mapping[str, Half],
    shapes: Mapping[str, tuple[int, ...]],
    nbytes: int,
    *,
    jobs: int,
    on_sampled: OnKey,
    on_measured: OnKey,
) -> Fit:
    """How to fit each tensor, so that the file has at most ``nbytes`` and, of all its weights, the worst are exact.

    Reads every tensor twice: a sample of its weights tells how large the errors are that the file can't afford to
    keep; then a lattice that is fitted for those tells its size and all its errors. Once more where the file might
    be lossless and turns out not to be, or where only the smallest lattices have room.
    Memory: ``jobs`` + 1 tensors, 6 bytes a weight; beside that 8 bytes a row and about 30 KB of every tensor.

    Args:
        arrays: the tensors by key, in the order of the file.
        shapes: of the tensors.
        nbytes: most bytes of the file.
        jobs: tensors worked on at once, each on a thread.
        on_sampled, on_measured: told of every tensor, once.

    Returns:
        Fits a tensor, given its key and, once more, the tensor.

    Raises:
        EncodeError: the lattices alone take more, and how much; or a tensor can't be encoded.
        StreamerError: the source is damaged.
    """
    samples: dict[str, Sample] = {}
    for key, sample in ahead(arrays, lambda key, values: Sample.of(patterns_of(values, None)), jobs):
        samples[key] = sample
        on_sampled(key)
    headers = allot.fixed_nbytes({key: (shape, 0) for key, shape in shapes.items()})
    with ThreadPoolExecutor(jobs, thread_name_prefix="streamer-encode") as pool:
        lossless = headers + sum(pool.map(Sample.lossless_nbytes, samples.values()))
        lattices = headers + sum(pool.map(Sample.lattice_nbytes, samples.values()))
        limit = limit_for(list(samples.values()), nbytes - lattices, pool.map)
    told: set[str] = set()

    def once(key: str) -> None:
        if key not in told:
            told.add(key)
            on_measured(key)

    if lossless <= PERHAPS * nbytes and _lossless_nbytes(arrays, shapes, nbytes, jobs, once) <= nbytes:
        return _losslessly
    for fitted_for in (limit, math.inf) if lattices <= nbytes else (math.inf,):
        measured = _measured(arrays, samples, fitted_for, jobs, once)
        least = allot.least_nbytes(measured)
        if least <= nbytes:
            break
    else:  # of few weights, or such as lie on their levels, a lossless file may be smaller than that
        if lossless <= PERHAPS * least:
            least = min(least, _lossless_nbytes(arrays, shapes, least, jobs, once))
        if least <= nbytes:
            return _losslessly
        raise allot.too_small(nbytes, least)
    entries = allot.allot(measured, nbytes)
    return lambda key, values: allot.fit_measured(values, measured[key], entries[key])


def _losslessly(key: str, values: Half) -> FittedTensor:
    return fit_tensor(values, Target())


def _lossless_nbytes(
    arrays: Mapping[str, Half], shapes: Mapping[str, tuple[int, ...]], most: int, jobs: int, on_key: OnKey
) -> int:
    """Bytes of a lossless file; or of its beginning, if that is more than `most`."""
    nothing = total = allot.fixed_nbytes({})
    for key, size in ahead(arrays, lambda key, values: _losslessly(key, values).nbytes, jobs):
        total += allot.fixed_nbytes({key: (shapes[key], size)}) - nothing
        on_key(key)
        if total > most:
            break
    return total


def _measured(
    arrays: Mapping[str, Half], samples: Mapping[str, Sample], limit: float, jobs: int, on_key: OnKey
) -> dict[str, Measured]:
    def measure(key: str, values: Half) -> Measured:
        return allot.measure(values, limit_of(limit, samples[key].entry_nbytes))

    found: dict[str, Measured] = {}
    for key, measured in ahead(arrays, measure, jobs):
        found[key] = measured
        on_key(key)
    return found
