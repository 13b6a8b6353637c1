"""How much host memory this process can have before it is slowed down or ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class _Names:
    """Of a control group's files, and of two lines in its statistics.

    Attributes:
        limits: most bytes, or ``max``.
        used: bytes, pages of files included.
        cached: of those, pages of files.
        shared: of these, what is no file's: a tmpfs's and shared memory, which nobody can take back.
    """

    limits: tuple[str, ...]
    used: str
    cached: str
    shared: str


_SECOND = _Names(("memory.max", "memory.high"), "memory.current", "file", "shmem")
_FIRST = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_cache", "total_shmem")


def available_nbytes(proc: Path = _PROC, mount: Path = _MOUNT) -> int:
    """What is free on the machine, and no more than any limit on this process leaves (Linux's control groups).

    Limits are a container's, a service's or a session's; those of groups above count too. What can't be read limits
    nothing. Sources: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.

    Args:
        proc: file that names this process's control groups.
        mount: where control groups are mounted.
    """
    return max(0, min([int(psutil.virtual_memory().available), *_left(proc, mount)]))


def _left(proc: Path, mount: Path) -> Iterator[int]:
    try:
        lines = proc.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield from _left_by_groups(mount, path, _SECOND)
        elif "memory" in controllers.split(","):
            yield from _left_by_groups(mount / "memory", path, _FIRST)


def _left_by_groups(top: Path, path: str, names: _Names) -> Iterator[int]:
    """By the group and all above it. A container may see its own group as the top, under the name it has outside."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # outside of what is mounted
        parts = []
    for count in range(len(parts), -1, -1):
        group = top.joinpath(*parts[:count])
        try:
            used = int((group / names.used).read_text("ascii"))
            lines = [line.split() for line in (group / "memory.stat").read_text("ascii").splitlines()]
            told = {line[0]: int(line[1]) for line in lines if len(line) == 2}
            # Pages of files count as used, but leave when others need the room.
            needed = used - max(0, told.get(names.cached, 0) - told.get(names.shared, 0))
        except (OSError, ValueError):  # the topmost group has none, and a container's may not be there
            continue
        for name in names.limits:
            try:
                most = (group / name).read_text("ascii").strip()
                if most != "max":
                    yield int(most) - needed
            except (OSError, ValueError):
                continue
