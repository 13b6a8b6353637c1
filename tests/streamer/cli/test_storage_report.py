"""What couldn't be measured is said, never shown as a speed."""

from __future__ import annotations

from pathlib import Path

from streamer.bench.storage_kind import Storage, StorageKind
from streamer.bench.storage_measure import StorageReport
from streamer.bench.storage_read import ReadSpeed
from streamer.cli.storage_report import Found, print_storages, rate_text


def read(method: str, resident: float | None, *, cold: bool, problem: str | None = None) -> ReadSpeed:
    return ReadSpeed(method, "blocks", 2, 0 if problem else 3_000_000, 0.0 if problem else 1.5, resident, cold, problem)


ON_A_DISK = Storage(StorageKind.SPINNING, "ext4", "sda1")


def shown(capsys, *reads: ReadSpeed, storage: Storage = ON_A_DISK) -> str:
    report = StorageReport(Path("file"), 5_000_000, storage, reads)
    print_storages(Found([report]))
    return capsys.readouterr().out


def test_cold_reads_are_the_storages_speed(capsys):
    out = shown(capsys, read("pread", 0.0, cold=True))
    assert "spinning disk (sda1, ext4)" in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("pread")]
    assert row == ["pread", "blocks", "2", "cold", "3", "MB", "2", "MB/s"]
    assert "could not be dropped" not in out


def test_what_stayed_cached_or_is_unknown_is_said(capsys):
    out = shown(capsys, read("pread", 0.7, cold=False), read("mmap", None, cold=False))
    assert "70% was there" in out
    assert "unknown" in out
    assert "For 2 of the measurements above the page cache could not be dropped" in out
    assert "how fast this storage is remains unknown" in out


def test_a_cache_that_cannot_be_seen_from_here_is_said(capsys):
    out = shown(capsys, read("direct", None, cold=False), storage=Storage(StorageKind.UNKNOWN, "zfs"))
    assert "zfs has a cache of its own" in out
    assert "passed by" not in out
    out = shown(capsys, read("pread", 0.0, cold=True), storage=Storage(StorageKind.VIRTUAL, "ext4", "vda"))
    assert "A virtual disk's host may have had the file in its memory" in out
    out = shown(capsys, read("pread", 0.0, cold=True), storage=Storage(StorageKind.NETWORK, "nfs4", "nas:/"))
    assert "A server may have had the file in its memory" in out


def test_a_reader_that_does_not_work_here_has_its_reason(capsys):
    out = shown(capsys, read("direct", None, cold=False, problem="it can't"))
    assert "direct: it can't." in out
    assert "could not be dropped" not in out


def test_rates_are_whole_megabytes_a_second():
    assert rate_text(1_234_500_000.0) == "1,234 MB/s"
    assert rate_text(None) == "-"
