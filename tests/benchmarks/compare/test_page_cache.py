"""What is in the page cache, and what isn't any more."""

from __future__ import annotations

import os

import pytest

from benchmarks.compare.page_cache import cached_nbytes, drop, files_below
from streamer.bench.storage_kind import StorageKind, find_storage

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no such call")


def test_a_file_just_written_is_there_until_it_is_dropped(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_001))
    assert cached_nbytes([path]) == 3_000_001
    if find_storage(tmp_path).kind is StorageKind.MEMORY:
        pytest.skip("this file system keeps its files in memory")
    assert drop([path])
    assert cached_nbytes([path]) == 0
    with path.open("rb") as file:
        file.read(10)
    assert 0 < (cached_nbytes([path]) or 0) <= 3_000_001


def test_an_empty_file_takes_nothing(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert cached_nbytes([path]) == 0


def test_files_below_follows_links_and_directories(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "file"
    file.write_bytes(b"x")
    other = tmp_path / "other"
    other.write_bytes(b"y")
    (tmp_path / "a" / "link").symlink_to(other)
    (tmp_path / "a" / "second name").hardlink_to(file)
    found = files_below(tmp_path / "a", other)
    assert len(found) == 2
    assert other in found
    assert all(path.samefile(file) or path.samefile(other) for path in found)
