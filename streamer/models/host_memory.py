"""How much host memory is used for weights between steps, when nobody says."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.sources.base import WeightSource


@dataclass(frozen=True)
class HostMemory:
    """What of the host's memory weights may take between steps. Fields as in `streamer.config.StreamSettings`."""

    ram_budget_nbytes: int
    hold_only_smaller: bool = False
    packed_ram_nbytes: int = 0


def default_host_memory(device_type: str, vram_budget_nbytes: int, available_nbytes: int) -> HostMemory:
    """What is faster by more than it costs; why: docs/decisions/engine-default-host-memory.md.

    Args:
        device_type: that computes, such as ``cuda``.
        vram_budget_nbytes: for weights in use. On a CPU that is host memory too, so the packed weights are no
            more than that.
        available_nbytes: of host memory.
    """
    if device_type != "cpu":
        return HostMemory(available_nbytes // 2)
    packed_nbytes = default_packed_nbytes(vram_budget_nbytes)
    return HostMemory(available_nbytes // 4, hold_only_smaller=True, packed_ram_nbytes=packed_nbytes)


def default_packed_nbytes(vram_budget_nbytes: int) -> int:
    """Of host memory, for packed weights beside so many bytes of them in use, where a CPU computes: as much again."""
    return vram_budget_nbytes


def page_cache_share(available_nbytes: int, ram_budget_nbytes: int, source: WeightSource) -> int:
    """Bytes of the weight file that may stay in the system's page cache: half of what is left, others use it too.

    Args:
        available_nbytes: of host memory.
        ram_budget_nbytes: of it, for weights; of a larger one than all weights need, the rest is free.
        source: of the weights.
    """
    most_held = sum(source.info(key).held_nbytes for key in source.keys())
    return max(0, available_nbytes - min(ram_budget_nbytes, most_held)) // 2
