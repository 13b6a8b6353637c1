"""What there is on this machine, gathered once: facts without judgement, and nothing that can't be told is made up."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from lzr2.errors import Lzr2Error
from streamer.available_memory import available_nbytes
from streamer.bench.storage_kind import Storage, StorageKind, find_storage
from streamer.errors import StreamerError
from streamer.models.weights import open_file
from streamer.processors import processors

_PROJECT = "lzr2-streamer"
_PINNED_NBYTES = 256 << 20
_PATIENCE = 10.0  # seconds for the driver's own program
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\(?>=\s*([0-9.]+))?")


@dataclass(frozen=True)
class Gpu:
    """A device.

    Attributes:
        name: as the driver calls it.
        capability: its compute capability, major and minor.
        total_nbytes: of its memory; None: not told.
        free_nbytes: that no program has; None: not told.
        fault: what running the least of programs on it raised; None: it ran, or wasn't tried.
    """

    name: str
    capability: tuple[int, int]
    total_nbytes: int | None = None
    free_nbytes: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Package:
    """A package that is needed. Versions as its makers write them; None: not there, or none is asked for.

    Attributes:
        installed: version.
        least: version that is needed.
        everywhere: needed on every machine; else only on some kinds.
    """

    installed: str | None
    least: str | None = None
    everywhere: bool = True


@dataclass(frozen=True)
class PinnedTrial:
    """An allocation of page-locked memory. ``fault``: what it raised; None: it succeeded."""

    nbytes: int
    seconds: float
    fault: str | None = None


@dataclass(frozen=True)
class Weights:
    """A weight file. ``fault``: why it can't be used; None: it can, as far as its headers tell."""

    path: str
    nbytes: int
    storage: Storage
    fault: str | None = None


@dataclass(frozen=True)
class Facts:
    """All that the checks are made from.

    Attributes:
        system: name and release.
        python: its version.
        packages: that the project needs, by name.
        processors: that this process may use.
        ram_total_nbytes: of the machine.
        ram_free_nbytes: that programs can have without swapping.
        torch_cuda: the CUDA version that torch was built with; None: it computes on the CPU only.
        torch_architectures: that it was built for, such as ``sm_86`` or ``compute_90``.
        torch_gpus: that torch can reach.
        driver_gpus: that the driver tells of, whether torch can use them or not.
        driver: its version; None: there is none.
        driver_fault: what its own program said instead of telling of devices; None: it told, or isn't there.
        torch_hip: the ROCm version that torch was built with; None: it wasn't.
        pinned: trial of page-locked memory; None: of no use without a GPU.
        weights: that were named; None: none were.
    """

    system: str
    python: str
    packages: Mapping[str, Package] = field(default_factory=dict)
    processors: int = 1
    ram_total_nbytes: int = 0
    ram_free_nbytes: int = 0
    torch_cuda: str | None = None
    torch_architectures: tuple[str, ...] = ()
    torch_gpus: tuple[Gpu, ...] = ()
    driver_gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    driver_fault: str | None = None
    torch_hip: str | None = None
    pinned: PinnedTrial | None = None
    weights: Weights | None = None


def gather(weights: Path | None = None) -> Facts:
    """This machine's. Takes a second or two with a GPU, whose context is made.

    Args:
        weights: a file to look at; its headers are read.
    """
    free = available_nbytes()
    gpus = _torch_gpus()
    driver, driver_gpus, driver_fault = _driver_gpus()
    return Facts(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
        packages=needed_packages(importlib.metadata.requires(_PROJECT) or [] if _is_installed() else []),
        processors=processors(),
        ram_total_nbytes=int(psutil.virtual_memory().total),
        ram_free_nbytes=free,
        torch_cuda=torch.version.cuda,
        torch_architectures=tuple(torch.cuda.get_arch_list()) if gpus else (),
        torch_gpus=gpus,
        driver_gpus=driver_gpus,
        driver=driver,
        driver_fault=driver_fault,
        torch_hip=torch.version.hip,
        pinned=_pinned_trial(free) if gpus else None,
        weights=None if weights is None else _weights(weights),
    )


def needed_packages(requirements: list[str]) -> dict[str, Package]:
    """Each package that is required without an extra, with the version that is installed.

    Args:
        requirements: as a package's metadata has them; without any, those that the program can't do without.
    """
    found: dict[str, Package] = {}
    for requirement in requirements or ["torch", "diffusers", "transformers", "numpy", "numba", "safetensors"]:
        text, _, marker = requirement.partition(";")
        named = _REQUIREMENT.match(text.strip())
        if named is None or "extra" in marker:
            continue
        found[named.group(1)] = Package(_version(named.group(1)), named.group(2), everywhere=not marker.strip())
    return found


def parse_driver_list(text: str) -> tuple[str | None, tuple[Gpu, ...]]:
    """The driver's version and its devices; lines that don't read are left out.

    Args:
        text: lines of driver version, name, capability, total and free MiB, separated by commas.
    """
    driver, gpus = None, []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        capability = re.fullmatch(r"(\d+)\.(\d+)", cells[2]) if len(cells) == 5 else None
        if capability is None:
            continue
        driver = cells[0]
        total, free = (int(cell) << 20 if cell.isdecimal() else None for cell in cells[3:])
        gpus.append(Gpu(cells[1], (int(capability.group(1)), int(capability.group(2))), total, free))
    return driver, tuple(gpus)


def _is_installed() -> bool:
    return _version(_PROJECT) is not None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_gpus() -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        return ()
    return tuple(_torch_gpu(number) for number in range(torch.cuda.device_count()))


def _torch_gpu(number: int) -> Gpu:
    name, capability = f"device {number}", (0, 0)
    total = free = fault = None
    try:
        name, capability = torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number)
        free, total = torch.cuda.mem_get_info(number)
        ones = torch.ones(8, device=torch.device("cuda", number))
        if float((ones + ones).sum()) != 16.0:
            fault = "it adds wrongly"
    except RuntimeError as error:
        fault = first_line(error)
    return Gpu(name, capability, total, free, fault)


def first_line(error: BaseException) -> str:
    """Of what it says; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _driver_gpus() -> tuple[str | None, tuple[Gpu, ...], str | None]:
    command = ["nvidia-smi", "--query-gpu=driver_version,name,compute_cap,memory.total,memory.free",
               "--format=csv,noheader,nounits"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except FileNotFoundError:
        return None, (), None
    except subprocess.CalledProcessError as error:
        told = [line.strip() for line in f"{error.stdout}\n{error.stderr}".splitlines() if line.strip()]
        fault = told[0] if told else f"exit code {error.returncode}"
        return None, (), None if "No devices were found" in fault else fault
    except (OSError, subprocess.SubprocessError, UnicodeError) as error:
        return None, (), first_line(error)
    return *parse_driver_list(done.stdout), None


def _pinned_trial(free_nbytes: int) -> PinnedTrial:
    nbytes = min(_PINNED_NBYTES, max(1, free_nbytes // 8))
    started = time.perf_counter()
    try:
        torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
    except RuntimeError as error:
        return PinnedTrial(nbytes, time.perf_counter() - started, first_line(error))
    return PinnedTrial(nbytes, time.perf_counter() - started)


def _weights(path: Path) -> Weights:
    storage, nbytes = Storage(StorageKind.UNKNOWN), 0
    try:
        if not path.exists():
            return Weights(str(path), 0, find_storage(_existing(path)), "there is no such file")
        storage = find_storage(path)
        nbytes = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.glob("*.safetensors"))
        open_file(path, "auto").close()
    except (StreamerError, Lzr2Error, OSError, ValueError) as error:  # ValueError: a null byte in the path
        return Weights(str(path), nbytes, storage, first_line(error))
    return Weights(str(path), nbytes, storage)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))
