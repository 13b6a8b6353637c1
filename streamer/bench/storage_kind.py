"""What a path lies on, as far as the system tells; what it doesn't tell is said to be unknown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psutil


class StorageKind(str, Enum):
    """Kinds of storage, told apart by how fast they can be."""

    NVME = "NVMe SSD"
    SATA_SSD = "SATA SSD"
    SPINNING = "spinning disk"
    USB = "USB"
    CARD = "memory card"
    NETWORK = "network"
    SHARED = "shared by a virtual machine's host"
    VIRTUAL = "virtual disk"
    MEMORY = "memory"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Storage:
    """Of one path.

    Attributes:
        kind: what it lies on.
        filesystem: such as ``ext4``; None: unknown.
        device: name of the block device, or the remote end; None: unknown or none.
        rotational: what the device says of itself; a virtual one may say anything. None: it says nothing.
        removable: it can be pulled out.
    """

    kind: StorageKind
    filesystem: str | None = None
    device: str | None = None
    rotational: bool | None = None
    removable: bool = False

    @property
    def caches_apart(self) -> bool:
        """Whoever provides the file system keeps pages of its own, which the page cache doesn't tell of."""
        filesystem = self.filesystem or ""
        return filesystem in _OWN_CACHE or "fuse" in filesystem

    def text(self) -> str:
        """For a person, in one line."""
        beside = ", ".join(part for part in (self.device, self.filesystem) if part)
        return f"{self.kind.value} ({beside})" if beside else self.kind.value


_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "afs", "beegfs", "fuse.sshfs",
            "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.glusterfs", "webdav", "afpfs"}  # fmt: skip
_SHARED = {"9p", "virtiofs", "vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs"}
_MEMORY = {"tmpfs", "ramfs"}
_OWN_CACHE = {"zfs", *_SHARED}
_HYPERVISORS = {"vmware", "msft", "qemu", "vbox"}
_SLOWEST_FIRST = (
    StorageKind.NETWORK,
    StorageKind.SPINNING, StorageKind.USB, StorageKind.CARD, StorageKind.UNKNOWN, StorageKind.VIRTUAL,
    StorageKind.SATA_SSD, StorageKind.NVME, StorageKind.MEMORY,
)  # fmt: skip
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class _Mount:
    device: str
    point: str
    filesystem: str
    source: str


def find_storage(
    path: Path,
    *,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    device_number: tuple[int, int] | None = None,
) -> Storage:
    """What the path lies on; links followed. Never raises for what can't be told.

    Args:
        path: of a file or folder that is there.
        proc: where the system's mounts are told.
        sys: where its devices are.
        device_number: major and minor of the device with the path; None: asked of the system.
    """
    real = Path(os.path.realpath(path))
    mounts = _mounts(proc / "self" / "mountinfo")
    if not mounts:
        return _by_partitions(real)
    if device_number is None:
        number = real.stat().st_dev
        device_number = (os.major(number), os.minor(number))
    mount = _mount_of(real, mounts, f"{device_number[0]}:{device_number[1]}")
    if mount is None:
        return Storage(StorageKind.UNKNOWN)
    for kind, filesystems in (
        (StorageKind.NETWORK, _NETWORK),
        (StorageKind.SHARED, _SHARED),
        (StorageKind.MEMORY, _MEMORY),
    ):
        if mount.filesystem in filesystems:
            return Storage(kind, mount.filesystem, None if kind is StorageKind.MEMORY else mount.source)
    device = _block_device(mount, sys)
    if device is None:
        return Storage(StorageKind.UNKNOWN, mount.filesystem)
    slowest = min(_bottom(device), key=lambda one: _SLOWEST_FIRST.index(_kind(one)))
    removable = _flag(_disk(slowest) / "removable")
    return Storage(
        _kind(slowest), mount.filesystem, device.name, _flag(_disk(slowest) / "queue" / "rotational"), bool(removable)
    )


def _mounts(mountinfo: Path) -> list[_Mount]:
    """Fields by proc(5): id, parent, major:minor, root, mount point, options, any number of tags, -, type, source."""
    try:
        lines = mountinfo.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if len(fields) >= 6 and len(rest) >= 2:
            found.append(_Mount(fields[2], _unescaped(fields[4]), rest[0], _unescaped(rest[1])))
    return found


def _unescaped(text: str) -> str:
    """Spaces and the like are written as octal numbers there."""
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), text)


def _mount_of(path: Path, mounts: list[_Mount], device: str) -> _Mount | None:
    """The deepest one that has the path; of several at one place the one that lies on top, which is the last."""
    above = [m for m in mounts if path == Path(m.point) or Path(m.point) in path.parents]
    same = [m for m in above if m.device == device]  # a file may be mounted alone, a folder within it renamed
    candidates = same or above
    return max(reversed(candidates), key=lambda m: len(Path(m.point).parts), default=None)


def _block_device(mount: _Mount, sys: Path) -> Path | None:
    """The device's folder in /sys; file systems over several devices have a number of their own, but name one."""
    found = sys / "dev" / "block" / mount.device
    if not found.exists():
        named = Path(os.path.realpath(mount.source)).name if mount.source.startswith("/dev/") else ""
        found = sys / "class" / "block" / named
        if not named or not found.exists():
            return None
    return Path(os.path.realpath(found))


def _bottom(device: Path) -> Iterator[Path]:
    """The devices below encryption, volumes and arrays."""
    try:
        below = sorted((_disk(device) / "slaves").iterdir())
    except OSError:
        below = []
    if not below:
        yield device
    for one in below:
        yield from _bottom(Path(os.path.realpath(one)))


def _disk(device: Path) -> Path:
    """Of a partition, the disk."""
    return device.parent if (device / "partition").exists() else device


def _kind(device: Path) -> StorageKind:
    disk = _disk(device)
    name = disk.name
    if any(part.startswith("usb") for part in device.parts):
        return StorageKind.USB
    if name.startswith("nvme"):
        return StorageKind.NVME
    if name.startswith("mmcblk"):
        return StorageKind.CARD
    if name.startswith(("ram", "zram")):
        return StorageKind.MEMORY
    if name.startswith(("vd", "xvd")) or any(part.startswith("virtio") for part in device.parts):
        return StorageKind.VIRTUAL
    if any(re.fullmatch(r"session\d+", part) for part in device.parts):
        return StorageKind.NETWORK  # iSCSI
    if any(part.startswith("VMBUS") for part in device.parts) or _vendor(disk) in _HYPERVISORS:
        return StorageKind.VIRTUAL
    rotational = _flag(disk / "queue" / "rotational")
    if rotational is None or not name.startswith(("sd", "hd")):
        return StorageKind.UNKNOWN
    if rotational:
        return StorageKind.SPINNING
    # By other ways than ATA, such as SAS, an SSD may be as fast as it likes.
    return StorageKind.SATA_SSD if any(re.fullmatch(r"ata\d+", part) for part in device.parts) else StorageKind.UNKNOWN


def _vendor(disk: Path) -> str:
    try:
        return (disk / "device" / "vendor").read_text("ascii", "replace").strip().lower()
    except OSError:
        return ""


def _flag(file: Path) -> bool | None:
    try:
        text = file.read_text("ascii", "replace").strip()
    except OSError:
        return None
    return {"0": False, "1": True}.get(text)


def _by_partitions(path: Path) -> Storage:
    """Where there is no /proc: what psutil knows of the volume."""
    try:
        partitions = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return Storage(StorageKind.UNKNOWN)
    above = [p for p in partitions if path == Path(p.mountpoint) or Path(p.mountpoint) in path.parents]
    if not above:
        return Storage(StorageKind.UNKNOWN)
    volume = max(above, key=lambda p: len(Path(p.mountpoint).parts))
    options = set(volume.opts.lower().split(","))
    filesystem = volume.fstype or None
    if volume.fstype.lower() in _NETWORK or "remote" in options:
        return Storage(StorageKind.NETWORK, filesystem, volume.device)
    if volume.fstype.lower() in _MEMORY or "ramdisk" in options:
        return Storage(StorageKind.MEMORY, filesystem)
    removable = "removable" in options
    return Storage(StorageKind.UNKNOWN, filesystem, volume.device, removable=removable)
