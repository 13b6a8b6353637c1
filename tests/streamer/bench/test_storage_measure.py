"""Every reader is measured cold and warm, and what wasn't cold is never taken for the storage's speed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

import lzr2
from streamer.bench import storage_measure
from streamer.bench.storage_kind import Storage, StorageKind
from streamer.bench.storage_measure import BLOCKS, SEQUENTIAL, check_readable, measure_emulated, measure_storage
from streamer.bench.storage_read import METHODS, PIECE
from streamer.errors import SettingError

NBYTES = 3 * PIECE + 77


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "file"
    with path.open("wb") as out:
        out.write(os.urandom(NBYTES))
        os.fsync(out.fileno())
    return path


@pytest.fixture(scope="module")
def measured(file):
    told = []
    return measure_storage(file, NBYTES, 2, told.append), told


def test_every_reader_cold_then_warm(measured, file):
    report, told = measured
    assert list(report.reads) == told
    assert (report.path, report.nbytes) == (file, NBYTES)
    asked = [(one.method, one.pattern) for one in report.reads]
    both = [(method, pattern) for pattern in (SEQUENTIAL, BLOCKS) for method in METHODS]
    assert asked == both + [one for one in both if one[0] != "direct"]
    for one in report.reads:
        assert one.problem is not None or 0 < one.nbytes <= NBYTES
        assert one.threads == (2 if one.pattern == BLOCKS else 1)
    for one in report.reads[len(both) :]:
        assert not one.cold
        assert one.resident_before in (None, 1.0)


def test_only_a_cold_read_of_blocks_tells_the_storages_speed(measured):
    report, _ = measured
    cold = replace(report.reads[3], method="pread", pattern=BLOCKS, cold=True, nbytes=300, seconds=2.0, problem=None)
    other = replace(cold, method="mmap", nbytes=1000)
    assert replace(report, reads=(other, cold)).disk == 150.0
    assert replace(report, reads=(other, replace(cold, cold=False))).disk == 500.0
    assert replace(report, reads=(replace(cold, cold=False), replace(cold, pattern=SEQUENTIAL))).disk is None


def test_files_in_memory_are_as_fast_as_they_are_read(measured):
    report, _ = measured
    warm = replace(report.reads[3], method="pread", pattern=BLOCKS, cold=False, nbytes=300, seconds=2.0, problem=None)
    memory = replace(report, reads=(warm,), storage=Storage(StorageKind.MEMORY, "tmpfs"))
    assert memory.disk == 150.0
    assert memory.not_cold == ()


@pytest.mark.parametrize("filesystem", ["zfs", "virtiofs", "fuse.mergerfs", "fuseblk", "macfuse"])
def test_where_the_page_cache_is_not_all_that_keeps_a_file_nothing_is_called_cold(file, monkeypatch, filesystem):
    monkeypatch.setattr(storage_measure, "find_storage", lambda _: Storage(StorageKind.UNKNOWN, filesystem))
    monkeypatch.setattr("streamer.bench.storage_read.resident_share", lambda *_: 0.0)
    report = measure_storage(file, PIECE, 1, lambda _: None)
    assert report.disk is None
    assert {(one.cold, one.resident_before) for one in report.reads} == {(False, None)}
    assert len(report.not_cold) == len([one for one in report.reads[: 2 * len(METHODS)] if one.problem is None])


def test_what_should_be_cold_and_is_not_is_named(measured):
    report, _ = measured
    kept = tuple(replace(one, cold=False, problem=None) for one in report.reads)
    assert replace(report, reads=kept).not_cold == kept[: 2 * len(METHODS)]
    broken = tuple(replace(one, problem="no") for one in kept)
    assert replace(report, reads=broken).not_cold == ()


def test_records_of_an_lzr2_file_are_its_blocks(demo_lzr2, monkeypatch):
    asked = []

    def spied(path, method, pattern, ranges, **more):
        asked.append((pattern, ranges))
        return read(path, method, pattern, ranges, **more)

    read = storage_measure.read_speed
    monkeypatch.setattr(storage_measure, "read_speed", spied)
    measure_emulated(demo_lzr2, 1 << 20, 1, 1e9, lambda _: None)
    with lzr2.open(demo_lzr2) as opened:
        records = {(opened.record(key).start, opened.record(key).record_nbytes) for key in opened}
    blocks = [ranges for pattern, ranges in asked if pattern == BLOCKS]
    assert len(blocks) == 2  # once that doesn't count
    assert set(blocks[0]) < records


def test_an_emulated_storage_is_as_fast_as_it_should_be(file):
    told = []
    reads = measure_emulated(file, NBYTES, 2, 100e6, told.append)
    assert list(reads) == told
    assert [one.pattern for one in reads] == [SEQUENTIAL, BLOCKS]
    for one in reads:
        assert one.rate is not None
        assert 30e6 < one.rate <= 101e6


def test_what_cannot_be_read_is_refused_in_words(tmp_path):
    (tmp_path / "empty").touch()
    for name, said in (("gone", "isn't there"), (".", "is a folder"), ("empty", "is empty")):
        with pytest.raises(SettingError, match=said):
            check_readable(tmp_path / name)
    with pytest.raises(SettingError, match="no regular file"):
        check_readable(tmp_path.__class__("/dev/null"))
