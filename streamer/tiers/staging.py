"""Host buffers through which weights pass on their way to a device with memory of its own. Leased and given back."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Lease:
    """A staging buffer in use.

    Attributes:
        memory: the buffer, bytes.
        ready: waits until the copy that last read the buffer has ended; to be called before writing.
    """

    memory: torch.Tensor
    ready: Callable[[], None]


class StagingPool:
    """A few buffers of one size, each leased to one block at a time. Not thread-safe: its user locks.

    Args:
        count: of buffers.
        nbytes: of each.
        pinned: page-locked, which a device's copy engine needs to copy at full speed beside the compute. If the
            system refuses, pageable memory is used, with a warning.
    """

    def __init__(self, count: int, nbytes: int, *, pinned: bool) -> None:
        self._free = deque(Lease(buffer, nothing) for buffer in _buffers(count, nbytes, pinned))
        self.nbytes = count * nbytes

    def lease(self) -> Lease | None:
        """The buffer that was given back longest ago, or None if all are leased."""
        return self._free.popleft() if self._free else None

    def give_back(self, lease: Lease, copy_ended: Callable[[], None]) -> None:
        """Takes a buffer back; ``copy_ended`` waits for the copy that still reads it."""
        self._free.append(Lease(lease.memory, copy_ended))


def nothing() -> None:
    """Nothing reads the buffer."""


def _buffers(count: int, nbytes: int, pinned: bool) -> list[torch.Tensor]:
    buffers: list[torch.Tensor] = []
    if pinned:
        try:
            while len(buffers) < count:
                buffers.append(torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=True))
        except RuntimeError as error:
            warnings.warn(
                f"Page-locked memory was refused ({error}); uploads use pageable memory and are slower.",
                RuntimeWarning,
                stacklevel=3,
            )
    while len(buffers) < count:
        buffers.append(torch.empty(nbytes, dtype=torch.uint8, device="cpu"))
    return buffers
