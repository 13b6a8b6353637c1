"""What is in the page cache is told and dropped."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from streamer.bench.page_residency import drop, resident_share

NBYTES = 4 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(NBYTES))
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    return path


@linux
def test_what_was_just_written_is_there(file):
    assert resident_share(file, [(0, NBYTES)]) == 1.0


@linux
def test_only_what_is_dropped_leaves(file):
    if not drop(file, [(0, NBYTES)]) or resident_share(file, [(0, NBYTES)]) != 0.0:
        pytest.skip("this file system keeps its pages")
    file.read_bytes()
    half = NBYTES // 2
    drop(file, [(half, half)])
    assert resident_share(file, [(half, half)]) == 0.0
    assert resident_share(file, [(0, half)]) == 1.0
    assert resident_share(file, [(0, NBYTES)]) == pytest.approx(0.5)


@linux
def test_ranges_need_not_be_whole_pages(file):
    assert resident_share(file, [(5, 10), (5000, 1), (NBYTES - 1, 1)]) == 1.0
    assert resident_share(file, [(NBYTES + 10_000, 10), (7, 0)]) in (0.0, 1.0)


def test_of_an_empty_file_nothing_is_told(tmp_path):
    (tmp_path / "empty").touch()
    assert resident_share(tmp_path / "empty", [(0, 1)]) is None


def test_where_the_system_cannot_drop_it_is_said(file, monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    assert not drop(file, [(0, NBYTES)])


def test_of_others_files_nothing_is_told(file, monkeypatch):
    monkeypatch.setattr("streamer.bench.page_residency._may_ask", lambda _: False)
    assert resident_share(file, [(0, NBYTES)]) is None


@pytest.mark.parametrize("fault", [OSError(errno.ENODEV, "No such device"), ValueError("cannot mmap an empty file")])
def test_of_a_file_that_cannot_be_mapped_nothing_is_told(file, monkeypatch, fault):
    def refuse(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("streamer.bench.page_residency.mmap.mmap", refuse)
    assert resident_share(file, [(0, NBYTES)]) is None
