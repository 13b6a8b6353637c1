"""What a process takes of a device's memory, and the cap that keeps it within a budget."""

from __future__ import annotations

import torch

CONTEXT_NBYTES = 500_000_000
"""What CUDA itself takes before the first tensor, where it can't be measured; 300 to 500 MB is usual."""


def context_nbytes(device: torch.device) -> int:
    """Bytes of the device that this process takes outside of tensors: CUDA's context and its kernels. 0 on a CPU.

    Measured where this process is the device's only one and nothing else changes meanwhile; never less than a plain
    context takes.
    """
    if device.type != "cuda":
        return 0
    free_nbytes, total_nbytes = torch.cuda.mem_get_info(device)
    outside = int(total_nbytes) - int(free_nbytes) - int(torch.cuda.memory_reserved(device))
    return min(max(outside, 0), CONTEXT_NBYTES) or CONTEXT_NBYTES


def cap(device: torch.device, nbytes: int) -> None:
    """From now on an allocation that would take this process's tensors beyond the cap fails as out of memory.

    So a mistake is an error, and never a silent spill into memory that the device shares with the host. Without effect
    on a CPU.

    Args:
        device: of the tensors.
        nbytes: most bytes that torch may reserve, context not included.
    """
    if device.type == "cuda":
        total_nbytes = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, nbytes / total_nbytes), device)


class PeakMeter:
    """Most bytes of tensors beyond those that were there at `begin`; only for CUDA, whose allocator counts.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before_nbytes = 0

    def begin(self) -> None:
        """What is there now doesn't count."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before_nbytes = int(torch.cuda.memory_allocated(self._device))

    def peak_nbytes(self) -> int:
        """Since `begin`."""
        return int(torch.cuda.max_memory_allocated(self._device)) - self._before_nbytes
