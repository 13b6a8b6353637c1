"""Frozen settings of the runtime, and sizes such as 6GB or 5.5GiB, parsed once at the edge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from streamer.errors import SettingError, SizeError

UNLIMITED = 1 << 62
"""A budget that holds any model: 4 EiB."""

ReadMethod = Literal["auto", "mmap", "pread"]

_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 1 << 10,
    "m": 10**6, "mb": 10**6, "mib": 1 << 20,
    "g": 10**9, "gb": 10**9, "gib": 1 << 30,
    "t": 10**12, "tb": 10**12, "tib": 1 << 40,
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", re.ASCII)


def parse_size(text: str, least: int = 1) -> int:
    """The number of bytes that the text names, exactly; ``unlimited`` gives `UNLIMITED`.

    Units are decimal (KB, MB, GB, TB) or binary (KiB, MiB, GiB, TiB), in any case; a bare number is bytes.

    Args:
        text: such as ``4GB``.
        least: bytes that it has to be.

    Raises:
        SizeError: the text is no size, or is below ``least`` or above 4 EiB.
    """
    lowered = text.lower()
    if lowered.strip() in ("unlimited", "max"):
        return UNLIMITED
    if len(text) > 64 or (match := _SIZE.fullmatch(lowered)) is None:
        raise SizeError(text[:64], "it doesn't read as a number and a unit")
    number, unit = match.groups()
    if unit not in _UNITS:
        raise SizeError(text, f"there is no unit {unit!r}")
    nbytes = int(Fraction(number if number[-1] != "." else number + "0") * _UNITS[unit])
    if nbytes < least:
        raise SizeError(text, "it is less than one byte" if least == 1 else f"it is less than {least} bytes")
    if nbytes > UNLIMITED:
        raise SizeError(text, "it is more than 4 EiB")
    return nbytes


def format_size(nbytes: float) -> str:
    """The size for a person, in decimal units with three digits: ``5.14 GB``; from 1000 TB on ``unlimited``."""
    value = float(nbytes)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 999.5:  # above, three digits round to 1000
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return "unlimited"


@dataclass(frozen=True)
class StreamSettings:
    """How one module's weights are streamed.

    Attributes:
        vram_budget_nbytes: most bytes of weights on the device at any time.
        ram_budget_nbytes: most bytes of weights kept in host memory between steps (0: none).
        hold_only_smaller: keep only tensors that take at most half as much host memory as bytes in the file, and
            others up to ``packed_ram_nbytes``.
        packed_ram_nbytes: of ``ram_budget_nbytes``, for tensors that take at most half a byte a weight in host memory.
        workers: threads that read and decode ahead; with 0 each block is loaded when its turn comes.
        staged: decode into a staging buffer and copy from there, as a device with its own memory needs.
            None: what the device needs.
        page_cache_nbytes: of the system's page cache that the weight file may take. Of a larger file a fixed part
            stays there, and the rest leaves it once read.
        spill_dir: folder on a fast local disk for weights that are read again at each step and take many more bytes in
            their file than decoded; None: they are decoded again.
        load_in_pauses: once all that is read at each step is in memory, weights are loaded only while the forward waits
            for them, by all workers together: where decoding and computing want the same processors.
        device_decode: blocks may move and stay in their packed form, and be expanded on the device, where that moves
            fewer bytes in a step. It needs staging. None: on a CUDA device.

    Raises:
        SettingError: a number is out of its range.
    """

    vram_budget_nbytes: int = UNLIMITED
    ram_budget_nbytes: int = 0
    workers: int = 1
    staged: bool | None = None
    hold_only_smaller: bool = False
    packed_ram_nbytes: int = 0
    page_cache_nbytes: int = UNLIMITED
    spill_dir: Path | None = None
    device_decode: bool | None = None
    load_in_pauses: bool = False

    def __post_init__(self) -> None:
        if self.vram_budget_nbytes < 1:
            raise SettingError(f"A device budget of {self.vram_budget_nbytes} bytes: at least 1 is needed.")
        if self.ram_budget_nbytes < 0:
            raise SettingError(f"A host budget of {self.ram_budget_nbytes} bytes: it can't be below 0.")
        if not 0 <= self.workers <= 64:
            raise SettingError(f"{self.workers} decode threads: between 0 and 64 can be used.")
        if self.device_decode and self.staged is False:
            raise SettingError("Decoding on the device needs staging: weights decoded into their slots don't move.")

    def decodes_on(self, device_type: str) -> bool:
        """Whether blocks may move packed to a device of this type, such as ``cuda``."""
        if self.device_decode is not None:
            return self.device_decode
        return device_type == "cuda" and self.staged is not False

    def stages_for(self, device_type: str) -> bool:
        """Whether weights pass through staging buffers on their way to a device of this type."""
        if self.staged is not None:
            return self.staged
        return device_type != "cpu" or bool(self.device_decode)
