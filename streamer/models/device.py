"""Where to compute, and in which type."""

from __future__ import annotations

import torch

from streamer.errors import DeviceError
from streamer.processors import processors


def choose_device(name: str) -> torch.device:
    """The device of this name; ``auto`` is CUDA where there is one, else the CPU.

    A CUDA device always has its number: some of torch's calls don't take ``cuda`` for the current one, and for a worker
    thread the current one may be another.

    Args:
        name: ``auto``, ``cuda``, ``cuda:N`` or ``cpu``.

    Raises:
        DeviceError: there is no such device, with what to do about it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise DeviceError(f"There is no device {name!r}.", "Devices are auto, cuda, cuda:N and cpu.")
    if not torch.cuda.is_available():
        raise DeviceError(
            "There is no CUDA device that this torch can use"
            + (" (this torch was built for the CPU only)." if torch.version.cuda is None else "."),
            "Use --device cpu, or install a CUDA build of torch and the driver.",
        )
    if number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"There is no device {name}: {torch.cuda.device_count()} CUDA device(s) were found.")
    return torch.device("cuda", int(number) if number else torch.cuda.current_device())


def decode_workers(device: torch.device) -> int:
    """Threads that read and decode ahead when nobody says: half the processors with a GPU, at most 4.

    On a CPU as many as compute, at most 4: torch divides each operation evenly over its threads and waits for the
    slowest, so what one decoder takes from one processor is lost on all of them; decoders on all lose it once.
    """
    if device.type == "cpu":
        return max(1, min(torch.get_num_threads(), 4))
    return max(1, min(processors() // 2, 4))


def compute_type(device: torch.device) -> torch.dtype:
    """float16 on a GPU; float32 on a CPU, where half precision is 100 times slower on most."""
    return torch.float32 if device.type == "cpu" else torch.float16
