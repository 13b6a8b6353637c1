"""Kinds of storage, told from trees as Linux shows them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from streamer.bench.storage_kind import Storage, StorageKind, find_storage

PCI = "devices/pci0000:00"


class System:
    """A made-up /proc and /sys."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        (self.proc / "self").mkdir(parents=True)
        (self.sys / "dev" / "block").mkdir(parents=True)
        (self.sys / "class" / "block").mkdir(parents=True)
        self.lines: list[str] = []

    def disk(self, where: str, number: str, *, rotational: str = "0", removable: str = "0") -> Path:
        folder = self.sys / where
        (folder / "queue").mkdir(parents=True)
        (folder / "queue" / "rotational").write_text(f"{rotational}\n")
        (folder / "removable").write_text(f"{removable}\n")
        self._link(folder, number)
        return folder

    def partition(self, disk: Path, name: str, number: str) -> Path:
        folder = disk / name
        folder.mkdir()
        (folder / "partition").write_text("1\n")
        self._link(folder, number)
        return folder

    def _link(self, folder: Path, number: str) -> None:
        (self.sys / "dev" / "block" / number).symlink_to(folder)
        (self.sys / "class" / "block" / folder.name).symlink_to(folder)

    def mount(self, number: str, point: str, filesystem: str, source: str) -> None:
        self.lines.append(f"22 27 {number} / {point} rw,relatime shared:1 - {filesystem} {source} rw")
        (self.proc / "self" / "mountinfo").write_text("\n".join(self.lines) + "\n")

    def storage(self, path: Path, major: int, minor: int) -> Storage:
        return find_storage(path, proc=self.proc, sys=self.sys, device_number=(major, minor))


@pytest.fixture
def system(tmp_path) -> System:
    return System(tmp_path / "system")


@pytest.mark.parametrize(
    ("where", "rotational", "kind"),
    [
        (f"{PCI}/0000:00:1d.0/nvme/nvme0/nvme0n1", "0", StorageKind.NVME),
        (f"{PCI}/0000:00:17.0/ata1/host0/block/sda", "0", StorageKind.SATA_SSD),
        (f"{PCI}/0000:00:17.0/ata1/host0/block/sda", "1", StorageKind.SPINNING),
        (f"{PCI}/0000:00:14.0/usb2/2-1/host6/block/sda", "1", StorageKind.USB),
        (f"{PCI}/0000:00:1e.4/mmc_host/mmc0/block/mmcblk0", "0", StorageKind.CARD),
        (f"{PCI}/0000:00:02.0/virtio1/block/vda", "1", StorageKind.VIRTUAL),
        ("devices/virtual/block/zram0", "0", StorageKind.MEMORY),
        ("devices/platform/host3/session1/target3:0:0/block/sda", "0", StorageKind.NETWORK),
        ("devices/LNXSYSTM:00/VMBUS:01/host0/block/sda", "1", StorageKind.VIRTUAL),
        (f"{PCI}/0000:00:10.0/host0/port-0:0/block/sda", "0", StorageKind.UNKNOWN),
        (f"{PCI}/0000:00:10.0/host0/port-0:0/block/sda", "1", StorageKind.SPINNING),
        ("devices/virtual/block/loop0", "0", StorageKind.UNKNOWN),
        (f"{PCI}/0000:00:17.0/ata1/host0/block/sda", "", StorageKind.UNKNOWN),
    ],
)
def test_a_disk_is_known_by_its_place_and_name(system, tmp_path, where, rotational, kind):
    system.disk(where, "8:0", rotational=rotational)
    system.mount("8:0", "/", "ext4", "/dev/whatever")
    found = system.storage(tmp_path, 8, 0)
    assert found.kind is kind
    assert (found.device, found.filesystem) == (where.rsplit("/", 1)[1], "ext4")


def test_a_hypervisors_disk_is_no_spinning_one_whatever_its_flag_says(system, tmp_path):
    disk = system.disk(f"{PCI}/0000:00:10.0/host0/block/sda", "8:0", rotational="1")
    (disk / "device").mkdir()
    (disk / "device" / "vendor").write_text("VMware  \n")
    system.mount("8:0", "/", "ext4", "/dev/sda1")
    assert system.storage(tmp_path, 8, 0).kind is StorageKind.VIRTUAL


def test_a_partition_is_as_its_disk_and_removable_ones_are_told(system, tmp_path):
    disk = system.disk(f"{PCI}/0000:00:14.0/usb2/2-1/block/sdb", "8:16", rotational="1", removable="1")
    system.partition(disk, "sdb1", "8:17")
    system.mount("8:17", "/", "exfat", "/dev/sdb1")
    found = system.storage(tmp_path, 8, 17)
    assert found == Storage(StorageKind.USB, "exfat", "sdb1", True, True)
    assert found.text() == "USB (sdb1, exfat)"


def test_below_encryption_and_arrays_the_slowest_disk_counts(system, tmp_path):
    fast = system.disk(f"{PCI}/0000:00:1d.0/nvme/nvme0/nvme0n1", "259:0")
    slow = system.disk(f"{PCI}/0000:00:17.0/ata1/block/sda", "8:0", rotational="1")
    array = system.disk("devices/virtual/block/md0", "9:0")
    (array / "slaves").mkdir()
    for below in (system.partition(fast, "nvme0n1p2", "259:2"), slow):
        (array / "slaves" / below.name).symlink_to(below)
    crypt = system.disk("devices/virtual/block/dm-0", "253:0")
    (crypt / "slaves").mkdir()
    (crypt / "slaves" / "md0").symlink_to(array)
    system.mount("253:0", "/", "ext4", "/dev/mapper/home")
    assert system.storage(tmp_path, 253, 0).kind is StorageKind.SPINNING


def test_a_file_system_with_a_number_of_its_own_names_its_device(system, tmp_path):
    system.disk(f"{PCI}/0000:00:1d.0/nvme/nvme0/nvme0n1", "259:0")
    system.mount("0:31", "/", "btrfs", "/dev/nvme0n1")
    assert system.storage(tmp_path, 0, 31).kind is StorageKind.NVME


@pytest.mark.parametrize(
    ("filesystem", "source", "kind"),
    [
        ("tmpfs", "tmpfs", StorageKind.MEMORY),
        ("nfs4", "server:/export", StorageKind.NETWORK),
        ("fuse.sshfs", "me@server:", StorageKind.NETWORK),
        ("9p", "share", StorageKind.SHARED),
        ("overlay", "overlay", StorageKind.UNKNOWN),
    ],
)
def test_what_is_no_disk_is_known_by_its_file_system(system, tmp_path, filesystem, source, kind):
    system.mount("0:40", "/", filesystem, source)
    found = system.storage(tmp_path, 0, 40)
    assert found.kind is kind
    assert found.filesystem == filesystem
    assert found.device == (source if kind in (StorageKind.NETWORK, StorageKind.SHARED) else None)


def test_the_deepest_mount_counts_and_its_name_may_have_spaces(system, tmp_path):
    inside = tmp_path / "my disk" / "models"
    inside.mkdir(parents=True)
    system.mount("0:40", "/", "tmpfs", "tmpfs")
    system.mount("0:41", str(tmp_path / "my disk").replace(" ", "\\040"), "nfs", "server:/x")
    system.mount("0:42", str(tmp_path / "my"), "cifs", "//other/y")
    assert system.storage(inside, 0, 41).device == "server:/x"
    assert system.storage(tmp_path, 0, 40).kind is StorageKind.MEMORY


def test_links_are_followed(system, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    system.mount("0:40", "/", "tmpfs", "tmpfs")
    system.mount("0:41", str(tmp_path / "far"), "nfs", "server:/x")
    assert system.storage(tmp_path / "link", 0, 41).kind is StorageKind.NETWORK


def test_without_proc_the_volumes_are_asked(system, tmp_path, monkeypatch):
    volumes = [
        SimpleNamespace(mountpoint="/", device="disk1", fstype="apfs", opts="rw,local"),
        SimpleNamespace(mountpoint=str(tmp_path / "stick"), device="disk2", fstype="exfat", opts="rw,removable"),
        SimpleNamespace(mountpoint=str(tmp_path / "far"), device="//server", fstype="smbfs", opts="rw"),
    ]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: volumes)

    def found(path: Path) -> Storage:
        return find_storage(path, proc=tmp_path / "none", sys=system.sys)

    assert found(tmp_path) == Storage(StorageKind.UNKNOWN, "apfs", "disk1")
    assert found(tmp_path / "stick" / "file") == Storage(StorageKind.UNKNOWN, "exfat", "disk2", removable=True)
    assert found(tmp_path / "far").kind is StorageKind.NETWORK


def test_this_machines_own_answer_is_an_answer(tmp_path):
    assert isinstance(find_storage(tmp_path).kind, StorageKind)
