"""Memory that steps can have on this machine, less than which makes it swap or end them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streamer.available_memory import available_nbytes


@dataclass(frozen=True)
class FreeMemory:
    """In bytes.

    Attributes:
        device: for everything on it; of a CPU, host memory.
        host: for weights that are kept between steps; of a CPU, the same memory.
    """

    device: int
    host: int


def free_memory(device: torch.device) -> FreeMemory:
    """What is free now.

    Args:
        device: that computes.
    """
    host = available_nbytes()
    if device.type != "cuda":
        return FreeMemory(host, host)
    return FreeMemory(int(torch.cuda.mem_get_info(device)[0]), host)
