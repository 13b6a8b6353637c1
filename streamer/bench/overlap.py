"""How near a step comes to the slowest of what it needs: the overlap efficiency."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.runtime.stats import Work


@dataclass(frozen=True)
class Speeds:
    """What the machine can do; None: not a limit here.

    Attributes:
        link: bytes a second to the device.
        disk: bytes a second from storage.
        cores: processors that decode at one time.
    """

    link: float | None
    disk: float | None
    cores: int


@dataclass(frozen=True)
class Limits:
    """Seconds that a step takes at least, by what it needs.

    Attributes:
        compute: with all weights there.
        link: for the bytes that were sent.
        disk: for the bytes that were read.
        decode: for what was decoded, on all cores.
    """

    compute: float
    link: float
    disk: float
    decode: float

    @property
    def bound(self) -> str:
        """What the step needs most time for."""
        return max(("compute", "link", "disk", "decode"), key=lambda name: float(getattr(self, name)))

    @property
    def seconds(self) -> float:
        """No step can be faster."""
        return max(self.compute, self.link, self.disk, self.decode)

    def efficiency(self, step_seconds: float) -> float:
        """The bound over the measured step: 1 where everything overlaps."""
        return self.seconds / step_seconds


def limits(compute_seconds: float, work: Work, speeds: Speeds) -> Limits:
    """The limits of a step in which this work was done.

    Args:
        compute_seconds: of the same step with all weights there.
        work: bytes and seconds of the step.
        speeds: of the machine.
    """
    return Limits(
        compute=compute_seconds,
        link=work.uploaded_nbytes / speeds.link if speeds.link else 0.0,
        disk=work.read_nbytes / speeds.disk if speeds.disk else 0.0,
        decode=work.decode_seconds / max(1, speeds.cores),
    )
