"""The contract of every source of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import torch

from streamer.plan.packed import InflatedSizes

OnRead = Callable[[float, float, int], None]
"""Told of a read from storage, on the thread that made it: start, end (seconds by `time.perf_counter`), and bytes.

Of a read in pieces, with other work between them, the end is the start and the seconds of all pieces.
"""


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor before it is read.

    Attributes:
        shape: as stored.
        stored_nbytes: that have to be read from the file for it.
        held_nbytes: that `WeightSource.hold` will keep in memory for it, as far as can be told before reading.
        dtype: of the values. Whole numbers are no weights: without their scale they mean nothing.
        origin: what the values are made of: equal only for the same unchanged bytes of the same file. None: unknown.
        inflated: most that its sections can need, if `WeightSource.hold` gives it inflated; None: it gives it dense.
    """

    shape: tuple[int, ...]
    stored_nbytes: int
    held_nbytes: int
    dtype: torch.dtype
    inflated: InflatedSizes | None = None
    origin: str | None = None

    @property
    def weights(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


class HeldTensor(Protocol):
    """A tensor kept in host memory in its smaller form; independent of the file it came from."""

    @property
    def nbytes(self) -> int:
        """Bytes of host memory that it takes."""
        ...

    def write_into(self, out: torch.Tensor) -> None:
        """Writes the same values that `WeightSource.read_into` would. Thread-safe."""
        ...

    def write_inflated_into(self, memory: torch.Tensor) -> InflatedSizes:
        """Writes the inflated form, as `InflatedSections` has it; the sizes that it turned out to have. Thread-safe.

        Args:
            memory: bytes (uint8) on the CPU, as many as `TensorInfo.inflated` says.

        Raises:
            ValueError: it is held dense.
        """
        ...


class WeightSource(Protocol):
    """Tensors by key. Every method may be called from several threads at once, but for `close`."""

    @property
    def name(self) -> str:
        """What a person would call it: the path."""
        ...

    @property
    def label(self) -> str:
        """The name without folders: what determines a picture and doesn't depend on the machine."""
        ...

    def keys(self) -> Collection[str]:
        """The keys of all tensors that have values here."""
        ...

    def mentioned(self) -> Collection[tuple[str, tuple[int, ...]]]:
        """Key and shape of all that the file names, also what has no values or is replaced further on."""
        ...

    def info(self, key: str) -> TensorInfo:
        """What is known of the tensor without reading it.

        Raises:
            KeyError: there is no such tensor.
        """
        ...

    def read_into(self, key: str, out: torch.Tensor) -> None:
        """Writes the tensor's values, cast to ``out``'s type as `torch.Tensor.to` casts.

        Args:
            key: of the tensor.
            out: contiguous, on the CPU, of the tensor's shape.

        Raises:
            KeyError: there is no such tensor.
            StreamerError: the file is damaged or has gone.
        """
        ...

    def hold(self, key: str) -> HeldTensor:
        """Reads the tensor into memory of its own, in the smaller of the forms that the source knows."""
        ...

    def will_need(self, key: str) -> None:
        """A hint: the tensor will be read soon."""
        ...

    def wont_need(self, key: str) -> None:
        """A hint: the tensor won't be read again soon, and its pages may leave the system's cache."""
        ...

    def observe_reads(self, on_read: OnRead | None) -> None:
        """From now on ``on_read`` is told of each read from storage; None: nobody is."""
        ...

    def close(self) -> None:
        """Lets go of the file; nothing may be read after."""
        ...
