"""How long it takes to bring each tensor, by really reading and decoding a few of the file's, one of each kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

from streamer.bench.sampled import Kind, seconds_per_size
from streamer.bench.simulate import LoadCost
from streamer.plan import Plan
from streamer.runtime.keeping import Keeping
from streamer.sources.base import WeightSource

_SMALL = 1 << 12  # weights: up to here calls cost more than numbers


@dataclass(frozen=True)
class DecodeCost:
    """Seconds of one processor for each tensor, by key.

    Attributes:
        read: from the file, its bytes in the system's page cache.
        held: from host memory; empty if nothing is to be kept there.
        stored_nbytes: in the file.
    """

    read: Mapping[str, float]
    held: Mapping[str, float]
    stored_nbytes: Mapping[str, int]

    def first_loads(self, plan: Plan, keeping: Keeping) -> tuple[tuple[LoadCost, ...], ...]:
        """Of each block's tensors when nothing was read yet; what is kept is read into memory and written from there.

        Args:
            plan: of the blocks.
            keeping: what is kept in host memory.
        """
        return _of_blocks(
            plan,
            lambda key: LoadCost(
                self.read[key] + (self.held[key] if key in keeping.kept else 0.0), self.stored_nbytes[key]
            ),
        )

    def later_loads(self, plan: Plan, keeping: Keeping) -> tuple[tuple[LoadCost, ...], ...]:
        """Of each block's tensors once all were read: what is kept isn't read again.

        Args:
            plan: of the blocks.
            keeping: what is kept in host memory, and what comes from the disk each time.
        """
        return _of_blocks(
            plan,
            lambda key: (
                LoadCost(self.held[key])
                if key in keeping.kept
                else LoadCost(self.read[key], self.stored_nbytes[key] if key in keeping.dropped else 0)
            ),
        )


def measured_decode(
    source: WeightSource, keys: Sequence[str], dtype: torch.dtype, *, holds: bool, seconds: float
) -> DecodeCost:
    """Measured here, on one thread. Only the tensors that are timed are read, more than once where that is quick.

    Args:
        source: of the weights.
        keys: of all tensors.
        dtype: to decode into.
        holds: some may be kept in host memory: that is measured too.
        seconds: that measuring may take, about.
    """
    share = seconds / 2 if holds else seconds
    return DecodeCost(
        read=_seconds(source, keys, share, lambda key: _reading(source, key, dtype)),
        held=_seconds(source, keys, share, lambda key: _writing(source, key, dtype)) if holds else {},
        stored_nbytes={key: source.info(key).stored_nbytes for key in keys},
    )


def _of_blocks(plan: Plan, cost: Callable[[str], LoadCost]) -> tuple[tuple[LoadCost, ...], ...]:
    return tuple(tuple(cost(place.key) for place in block.tensors) for block in plan.blocks)


def _seconds(
    source: WeightSource, keys: Sequence[str], seconds: float, prepare: Callable[[str], Callable[[], None]]
) -> dict[str, float]:
    """Of each key, by the rate of a tensor of its kind: the median one."""
    sizes = {key: float(max(source.info(key).weights, _SMALL)) for key in keys}
    kinds: dict[Hashable, list[str]] = {}
    for key in keys:
        kinds.setdefault(_kind(source, key), []).append(key)
    pieces: list[Kind[Hashable]] = []
    for kind, same in kinds.items():
        median = sorted(same, key=sizes.__getitem__)[len(same) // 2]
        pieces.append(Kind(kind, sizes[median], sum(sizes[key] for key in same), _later(prepare, median)))
    rates = seconds_per_size(pieces, seconds)
    return {key: rates[kind] * sizes[key] for kind, same in kinds.items() for key in same}


def _later(prepare: Callable[[str], Callable[[], None]], key: str) -> Callable[[], Callable[[], None]]:
    return lambda: prepare(key)


def _reading(source: WeightSource, key: str, dtype: torch.dtype) -> Callable[[], None]:
    # Written before it is timed: fresh memory is given page by page, as it isn't in a slab that is used again.
    out = torch.zeros(source.info(key).shape, dtype=dtype).add_(1)
    return lambda: source.read_into(key, out)


def _writing(source: WeightSource, key: str, dtype: torch.dtype) -> Callable[[], None]:
    tensor = source.hold(key)
    out = torch.zeros(source.info(key).shape, dtype=dtype).add_(1)
    return lambda: tensor.write_into(out)


def _kind(source: WeightSource, key: str) -> Hashable:
    """Equal for tensors of like size, with like bytes a weight in the file and in memory, in the same kind of rows."""
    info = source.info(key)
    weights = max(info.weights, 1)
    return (
        round(math.log2(max(weights, _SMALL))),
        round(2 * math.log2(max(info.stored_nbytes, 1) / weights)),
        round(2 * math.log2(max(info.held_nbytes, 1) / weights)),
        len(info.shape),
    )
