"""Files come into the page cache, in order and no more than asked; nothing that is no file is waited for."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from streamer.bench.page_residency import drop, resident_share
from streamer.tiers.read_ahead import ReadAhead

MB = 1 << 20
PLENTY = 1 << 40


def written(path: Path, nbytes: int) -> Path:
    path.write_bytes(os.urandom(nbytes))
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    return path


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "streamer-read-ahead"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_file_is_in_the_page_cache_afterwards(tmp_path):
    path = written(tmp_path / "a", 20 * MB)
    if not drop(path, [(0, 20 * MB)]) or resident_share(path, [(0, 20 * MB)]) != 0.0:
        pytest.skip("this file system keeps its pages")
    with ReadAhead([path], PLENTY) as ahead:
        ahead.wait()
    assert ahead.read_nbytes == 20 * MB
    assert resident_share(path, [(0, 20 * MB)]) > 0.9


@pytest.mark.parametrize(("most", "read"), [(0, 0), (5, 5), (9 * MB, 9 * MB), (21 * MB, 21 * MB), (PLENTY, 25 * MB)])
def test_no_more_than_asked_is_read_of_all_files_together(tmp_path, most, read):
    paths = [written(tmp_path / "a", 20 * MB), written(tmp_path / "b", 5 * MB)]
    with ReadAhead(paths, most) as ahead:
        ahead.wait()
    assert ahead.read_nbytes == read


def test_what_cannot_be_read_is_passed_over(tmp_path):
    (tmp_path / "folder").mkdir()
    odd = [tmp_path / "gone", tmp_path / "folder", tmp_path / "a\0b", Path()]
    with ReadAhead([*odd, written(tmp_path / "a", MB)], PLENTY) as ahead:
        ahead.wait()
    assert ahead.read_nbytes == MB


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ReadAhead([tmp_path / "pipe"], PLENTY) as ahead:
        waiting = threading.Thread(target=ahead.wait, daemon=True)
        waiting.start()
        waiting.join(10)
        assert not waiting.is_alive()
    assert ahead.read_nbytes == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there a file that is made longer is written")
def test_closing_ends_the_reading_and_the_thread_also_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.tiers.read_ahead.JOIN_SECONDS", 20)
    large = tmp_path / "large"
    try:
        os.truncate(written(large, 1), 1 << 38)  # sparse: so many zeros would take minutes
    except OSError:
        pytest.skip("this file system has no such files")
    ahead = ReadAhead([large], PLENTY)
    began = time.perf_counter()

    def interrupted() -> None:
        with ahead:
            assert threads()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.perf_counter() - began < 20
    assert not threads()
    assert ahead.read_nbytes < 1 << 38
    ahead.close()


def test_storage_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(ReadAhead, "_read", lambda *_: answers.wait(60))
    monkeypatch.setattr("streamer.tiers.read_ahead.JOIN_SECONDS", 0.01)
    ahead = ReadAhead([tmp_path], PLENTY).__enter__()
    ahead.close()
    assert threads()
    answers.set()
    ahead.wait()
    assert not threads()


def test_what_was_never_begun_can_be_closed(tmp_path):
    ReadAhead([tmp_path], PLENTY).close()
    assert not threads()
