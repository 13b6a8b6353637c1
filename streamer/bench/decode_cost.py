"""How long it takes to bring each tensor, by really reading and decoding one of the file's blocks of each kind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock

import torch

from streamer.bench.sampled import Kind, seconds_per_size
from streamer.bench.simulate import LoadCost
from streamer.plan import Block, Plan
from streamer.runtime.keeping import Keeping
from streamer.sources.base import WeightSource

_SLOTS_NBYTES = 1 << 26  # for each thread: more than its part of a processor's cache
_SMALL = 1 << 16  # weights: what calling costs for each tensor, in weights

Load = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class DecodeCost:
    """Seconds of one thread for each tensor, by key, while as many others do the same as will.

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

        def cost(key: str) -> LoadCost:
            held = self.held[key] if key in keeping.kept else 0.0
            return LoadCost(self.read[key] + held, self.stored_nbytes[key])

        return _of_blocks(plan, cost)

    def later_loads(self, plan: Plan, keeping: Keeping) -> tuple[tuple[LoadCost, ...], ...]:
        """Of each block's tensors once all were read: what is kept isn't read again.

        Args:
            plan: of the blocks.
            keeping: what is kept in host memory, and what comes from the disk each time.
        """

        def cost(key: str) -> LoadCost:
            if key in keeping.kept:
                return LoadCost(self.held[key])
            return LoadCost(self.read[key], self.stored_nbytes[key] if key in keeping.dropped else 0)

        return _of_blocks(plan, cost)


def _of_blocks(plan: Plan, cost: Callable[[str], LoadCost]) -> tuple[tuple[LoadCost, ...], ...]:
    return tuple(tuple(cost(place.key) for place in block.tensors) for block in plan.blocks)


def measured_decode(
    source: WeightSource, blocks: Sequence[Block], dtype: torch.dtype, *, holds: bool, threads: int, seconds: float
) -> DecodeCost:
    """Measured here, on as many threads at once as will decode: they slow each other, by sharing memory, caches and
    Python. Only the blocks that are timed are read, more than once where that is quick.

    Args:
        source: of the weights.
        blocks: of the model.
        dtype: to decode into.
        holds: some may be kept in host memory: that is measured too.
        threads: that will decode at once, each on a processor of its own.
        seconds: that measuring may take, about.
    """
    share = seconds / 2 if holds else seconds
    with ThreadPoolExecutor(threads) as pool:
        team = _Team(pool, [_Slots(dtype) for _ in range(threads)])
        return DecodeCost(
            read=_seconds(source, blocks, share, partial(_reading, source, team)),
            held=_seconds(source, blocks, share, partial(_writing, source, team)) if holds else {},
            stored_nbytes={place.key: source.info(place.key).stored_nbytes for b in blocks for place in b.tensors},
        )


def _seconds(
    source: WeightSource, blocks: Sequence[Block], seconds: float, prepare: Callable[[Block], Callable[[], float]]
) -> dict[str, float]:
    """Of each key, by the rate of a block of its block's kind."""
    kinds: dict[Hashable, list[Block]] = {}
    for block in blocks:
        if block.tensors:
            kinds.setdefault(_kind(source, block), []).append(block)
    rates = seconds_per_size(
        [
            Kind(kind, _size(same[0]), sum(_size(block) for block in same), partial(prepare, same[len(same) // 2]))
            for kind, same in kinds.items()
        ],
        seconds,
    )
    return {
        place.key: rates[kind] * (_SMALL + math.prod(place.shape))
        for kind, same in kinds.items()
        for block in same
        for place in block.tensors
    }


def _size(block: Block) -> float:
    return float(sum(_SMALL + math.prod(place.shape) for place in block.tensors))


def _kind(source: WeightSource, block: Block) -> Hashable:
    """Equal for blocks of the same shapes, with like bytes in the file and in memory."""
    infos = [source.info(place.key) for place in block.tensors]
    stored, held = (
        max(sum(sizes), 1) for sizes in zip(*((i.stored_nbytes, i.held_nbytes) for i in infos), strict=True)
    )
    return tuple(info.shape for info in infos), round(2 * math.log2(stored)), round(2 * math.log2(held))


def _reading(source: WeightSource, team: _Team, block: Block) -> Callable[[], float]:
    loads = [(partial(source.read_into, place.key), place.shape) for place in block.tensors]
    team.load(loads)  # from now on it is in the system's page cache
    return partial(team.load, loads)


def _writing(source: WeightSource, team: _Team, block: Block) -> Callable[[], float]:
    return partial(team.load, [(source.hold(place.key).write_into, place.shape) for place in block.tensors])


class _Slots:
    """Memory to decode into, one place after the other, round and round: as in a slab, none is in a processor's cache.

    Written once beforehand: fresh memory is given page by page, as it isn't in a slab that is used again.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._memory = torch.ones(_SLOTS_NBYTES // dtype.itemsize, dtype=dtype)
        self._at = 0

    def next(self, shape: tuple[int, ...]) -> torch.Tensor:
        count = math.prod(shape)
        if count > self._memory.numel():
            self._memory = torch.ones(count, dtype=self._memory.dtype)
        if self._at + count > self._memory.numel():
            self._at = 0
        start, self._at = self._at, self._at + count
        return self._memory[start : start + count].view(shape)


class _Team:
    """Threads that load tensors, each the next that none has taken, as the engine's workers do."""

    def __init__(self, pool: ThreadPoolExecutor, slots: Sequence[_Slots]) -> None:
        self._pool = pool
        self._slots = slots

    def load(self, loads: Sequence[tuple[Load, tuple[int, ...]]]) -> float:
        """Seconds of all threads together."""
        rest = iter(loads)
        lock = Lock()
        return sum(self._pool.map(lambda slots: _load_while_any(rest, lock, slots), self._slots))


def _load_while_any(rest: Iterator[tuple[Load, tuple[int, ...]]], lock: Lock, slots: _Slots) -> float:
    started = time.perf_counter()
    while True:
        with lock:
            load, shape = next(rest, (None, ()))
        if load is None:
            return time.perf_counter() - started
        load(slots.next(shape))
