"""How fast bytes get from host memory to a device."""

from __future__ import annotations

import statistics
import time

import torch

_NBYTES = 64 << 20  # large enough that what a copy costs to begin doesn't count
_COPIES = 8


def measured_link(device: torch.device) -> float | None:
    """Bytes a second of copies from page-locked memory, the median of several; None where nothing can be tried.

    Takes a tenth of a second, and for as long 64 MiB of page-locked and of the device's memory, which it gives back.

    Args:
        device: to copy to; a processor's own memory needs no link.
    """
    if device.type != "cuda":
        return None
    try:
        host = torch.empty(_NBYTES, dtype=torch.uint8, pin_memory=True)
        there = torch.empty(_NBYTES, dtype=torch.uint8, device=device)
        there.copy_(host, non_blocking=True)  # the first one isn't like the others
        seconds = [_copy_seconds(host, there) for _ in range(_COPIES)]
    except RuntimeError:  # no memory for it
        return None
    del there
    torch.cuda.empty_cache()
    return _NBYTES / statistics.median(seconds)


def _copy_seconds(host: torch.Tensor, there: torch.Tensor) -> float:
    torch.cuda.synchronize(there.device)
    started = time.perf_counter()
    there.copy_(host, non_blocking=True)
    torch.cuda.synchronize(there.device)
    return time.perf_counter() - started
