"""Memory that steps can have on this machine, less than which makes it swap or end them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")


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
    host = host_free_nbytes()
    if device.type != "cuda":
        return FreeMemory(host, host)
    return FreeMemory(int(torch.cuda.mem_get_info(device)[0]), host)


def host_free_nbytes(cgroup: Path = _CGROUP) -> int:
    """Host memory that this process can have without swapping, a container's limit included.

    Args:
        cgroup: directory of the process's control group.
    """
    available = int(psutil.virtual_memory().available)
    try:
        most = (cgroup / "memory.max").read_text("ascii").strip()
        used = int((cgroup / "memory.current").read_text("ascii"))
        lines = (cgroup / "memory.stat").read_text("ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.split()[:1] == ["file"])
        # Pages of files count as used, but leave when others need the room.
        return available if most == "max" else max(0, min(available, int(most) - (used - cached)))
    except (OSError, ValueError, IndexError):
        return available
