"""Which tensors of a source are weights that a file can hold, and which are left out and why."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch

from streamer.errors import WeightsFileError, printable
from streamer.sources.base import WeightSource
from streamer.sources.fit import require_real_numbers
from streamer.sources.layered import LayeredSource

_BOOKKEEPING = frozenset({"position_ids", "num_batches_tracked"})
_EIGHT_BITS = frozenset({torch.float8_e4m3fn, torch.float8_e5m2})
_LISTED = 3


def weights_among(
    source: WeightSource, keys: Collection[str], *, scalars: bool, warn: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Those of the keys whose tensors are weights, in order; each of the others was named to ``warn`` or is counted.

    Positions and counters, which text encoders have, are no weights: all tensors of 64-bit whole numbers, and those
    called ``position_ids`` or ``num_batches_tracked``. Other whole numbers are quantised weights, and so is float8
    beside scalars, its scales: to leave out a part of these would make wrong weights of the rest.

    Args:
        source: of the tensors.
        keys: to choose from.
        scalars: whether tensors without dimensions can be held; LZR2 can't, safetensors can.
        warn: told what is left out, a line for each reason.

    Raises:
        WeightsFileError: some are quantised, or none is left.
    """
    infos = {key: source.info(key) for key in keys}
    whole = [key for key, info in infos.items() if not info.dtype.is_floating_point]
    counts = [key for key in whole if infos[key].dtype == torch.int64 or key.rpartition(".")[2] in _BOOKKEEPING]
    require_real_numbers(source, whole if len(whole) == len(infos) else sorted(set(whole) - set(counts)))
    single = [key for key, info in infos.items() if not info.shape and info.dtype.is_floating_point]
    if single and any(info.dtype in _EIGHT_BITS for info in infos.values()):
        raise WeightsFileError(
            source.name,
            f"float8 weights beside {len(single)} scalars, {printable(single[0])} for one, which will be their scales: "
            "these are quantised weights",
            "Give weights in float32, float16 or bfloat16.",
        )
    left_out = set(counts) if scalars else {*counts, *single}
    kept = [key for key in infos if key not in left_out]
    if not kept:
        only = f", only {len(single)} scalars, which LZR2 has no place for" if single else ""
        raise WeightsFileError(
            source.name, f"it holds no weights{only}", "'streamer info FILE' shows what a file holds."
        )
    if counts:
        warn(f"{printable(source.name)}: {_named(counts)} left out: whole numbers that count or order, no weights.")
    if single and not scalars:
        warn(f"{printable(source.name)}: {_named(single)} left out: scalars, which LZR2 has no place for.")
    return kept


def without_the_rest(source: WeightSource, warn: Callable[[str], None]) -> WeightSource:
    """The source with only those tensors that LZR2 can hold; it owns the one given. Raises as `weights_among`."""
    kept = set(weights_among(source, source.keys(), scalars=False, warn=warn))
    return LayeredSource([source], hidden=set(source.keys()) - kept)


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(printable(key) for key in keys[:_LISTED]) + more
