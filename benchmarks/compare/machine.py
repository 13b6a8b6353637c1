"""What a result was measured on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.compare.device_memory import DEVICE
from streamer.bench.storage_kind import StorageKind, find_storage

PACKAGES = ("torch", "diffusers", "accelerate", "safetensors", "transformers", "numpy", "mmgp")


def machine(folder: Path, device: str) -> dict[str, Any]:
    """Processor, memory, storage of the folder, device and versions; what can't be known is None.

    Args:
        folder: where the weights are.
        device: ``cpu`` or ``cuda``.
    """
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_nbytes": _memory_nbytes(),
        "storage": _storage(folder),
        "device": _gpu() if device == "cuda" else "the processor",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def revision(root: Path) -> str | None:
    """The commit that is checked out, with ``+`` if files differ from it; None where that can't be known."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        told = [
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
        return told[0][:12] + "+" * bool(told[1])
    return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                virtual = " (virtual machine)" if _is_virtual() else ""
                return line.partition(":")[2].strip() + virtual
    return platform.processor() or platform.machine()


def _is_virtual() -> bool:
    with contextlib.suppress(OSError):
        return " hypervisor" in Path("/proc/cpuinfo").read_text("utf-8", "replace")
    return False


def _memory_nbytes() -> int | None:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _storage(folder: Path) -> str | None:
    """The file system's type and what kind of storage it lies on."""
    found = find_storage(folder)
    if found.filesystem is None:
        return None if found.kind is StorageKind.UNKNOWN else found.kind.value
    known = "" if found.kind in (StorageKind.UNKNOWN, StorageKind.MEMORY) else f" on {found.kind.value}"
    return f"{found.filesystem}{known}"


def _gpu() -> str | None:
    query = ["nvidia-smi", f"--id={DEVICE}", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    return None


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
