"""Weights kept in host memory between steps: a fixed set, chosen beforehand, each tensor in its smaller form."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import torch

from streamer.sources.base import HeldTensor, OnRead, TensorInfo, WeightSource


def choose(source: WeightSource, groups: Sequence[Sequence[str]], budget_nbytes: int) -> frozenset[str]:
    """The keys to keep: whole groups, first ones first, as long as they fit into the budget together.

    Args:
        source: of the tensors.
        groups: the keys of each block, in the order in which room is given to them.
        budget_nbytes: of host memory. A larger budget keeps a superset.
    """
    chosen: list[str] = []
    room = budget_nbytes
    for keys in groups:
        room -= sum(source.info(key).held_nbytes for key in keys)
        if room < 0:
            break
        chosen.extend(keys)
    return frozenset(chosen)


def choose_smaller(
    source: WeightSource, groups: Sequence[Sequence[str]], budget_nbytes: int, packed_nbytes: int
) -> frozenset[str]:
    """As `choose`, of what saves most: tensors much larger in their file first, then what is small in memory.

    Args:
        source: of the tensors.
        groups: the keys of each block, in the order in which room is given to them.
        budget_nbytes: of host memory.
        packed_nbytes: of it, for tensors that aren't much larger in their file and take at most half a byte a weight.
    """

    def of(test: Callable[[TensorInfo], bool]) -> list[list[str]]:
        return [[key for key in keys if test(source.info(key))] for keys in groups]

    larger_in_file = choose(source, of(is_much_larger_in_file), budget_nbytes)
    room = budget_nbytes - sum(source.info(key).held_nbytes for key in larger_in_file)
    packed = of(lambda info: not is_much_larger_in_file(info) and is_small_in_memory(info))
    return larger_in_file | choose(source, packed, min(packed_nbytes, room))


def is_much_larger_in_file(info: TensorInfo) -> bool:
    """So that the system's page cache would be a waste of memory."""
    return 2 * info.held_nbytes <= info.stored_nbytes


def is_small_in_memory(info: TensorInfo) -> bool:
    """Packed: at most half a byte a weight."""
    return 2 * info.held_nbytes <= info.weights


class HostCache:
    """A source that reads each of the kept tensors from the source below it only once. Thread-safe.

    It keeps at most ``budget_nbytes``, measured as they are kept: a tensor that turns out larger than announced is
    read again each time instead. Doesn't own the source below.

    Args:
        below: read from.
        budget_nbytes: most bytes to keep.
    """

    def __init__(self, below: WeightSource, budget_nbytes: int) -> None:
        self._below = below
        self._kept: frozenset[str] = frozenset()
        self._dropped: frozenset[str] = frozenset()
        self._held: dict[str, HeldTensor] = {}
        self._room = budget_nbytes
        self._lock = threading.Lock()

    def keep(self, kept: Collection[str], dropped: Collection[str] = ()) -> None:
        """From now on these are kept, once read; what is kept of others is let go of.

        Args:
            kept: keys, as `choose` gives them.
            dropped: keys whose bytes should leave the system's page cache once read.
        """
        with self._lock:
            self._kept, self._dropped = frozenset(kept), frozenset(dropped)
            for key in [key for key in self._held if key not in self._kept]:
                self._room += self._held.pop(key).nbytes

    @property
    def name(self) -> str:
        """Of the source below."""
        return self._below.name

    @property
    def held_nbytes(self) -> int:
        """Bytes kept now."""
        with self._lock:
            return sum(held.nbytes for held in self._held.values())

    @property
    def label(self) -> str:
        """Of the source below."""
        return self._below.label

    def keys(self) -> Collection[str]:
        """Of the source below."""
        return self._below.keys()

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Of the source below."""
        return self._below.mentioned()

    def info(self, key: str) -> TensorInfo:
        """Of the source below."""
        return self._below.info(key)

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """From memory if it is kept and was read before, else from the source below."""
        held = self._kept_tensor(key)
        if held is None:
            self._below.read_into(key, out)
            self._drop(key)
        else:
            held.write_into(out)

    def hold(self, key: str) -> HeldTensor:
        """From memory if it is kept and was read before, else from the source below."""
        held = self._kept_tensor(key)
        if held is None:
            held = self._below.hold(key)
            self._drop(key)
        return held

    def will_need(self, key: str) -> None:
        """Passed on unless the tensor is kept."""
        with self._lock:
            kept = key in self._held
        if not kept:
            self._below.will_need(key)

    def wont_need(self, key: str) -> None:
        """Passed on."""
        self._below.wont_need(key)

    def observe_reads(self, on_read: OnRead | None) -> None:
        """Of the source below."""
        self._below.observe_reads(on_read)

    def close(self) -> None:
        """Lets go of what is kept."""
        with self._lock:
            self._held.clear()
            self._room = 0

    def _drop(self, key: str) -> None:
        if key in self._dropped:
            self._below.wont_need(key)

    def _kept_tensor(self, key: str) -> HeldTensor | None:
        with self._lock:
            held = self._held.get(key)
        return self._keep(key) if held is None and key in self._kept else held

    def _keep(self, key: str) -> HeldTensor:
        held = self._below.hold(key)
        with self._lock:
            if key in self._kept and key not in self._held and held.nbytes <= self._room:
                self._held[key] = held
                self._room -= held.nbytes
            is_kept = key in self._held
        if is_kept:  # else it is read again, which shall not take a storage
            self._drop(key)
        return held
