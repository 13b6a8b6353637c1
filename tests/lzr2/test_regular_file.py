"""Only regular files are opened, and their state tells of every change."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from lzr2 import errors
from lzr2.regular_file import open_regular, outlast_clock_tick, read_failed, state_of


def test_a_regular_file_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    fd = open_regular(tmp_path / "data")
    assert os.read(fd, 9) == b"abc"
    with pytest.raises(OSError, match=r"(?i)bad file"):
        os.write(fd, b"x")
    os.close(fd)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.UnreadableFileError, match="a pipe"):
        open_regular(tmp_path / "pipe")


def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableFileError, match="a directory"):
        open_regular(tmp_path)
    with pytest.raises(errors.MissingFileError):
        open_regular(tmp_path / "nothing")
    with pytest.raises(errors.UnreadableFileError, match="not a path"):
        open_regular(Path("a\0b"))


def test_the_state_is_another_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"abc")
    fd = open_regular(path)
    states = [state_of(fd)]
    outlast_clock_tick(states[0])
    path.write_bytes(b"abd")
    states.append(state_of(fd))
    os.truncate(path, 1)
    states.append(state_of(fd))
    os.close(fd)
    assert len(set(states)) == 3
    assert [state.nbytes for state in states] == [3, 3, 1]


@pytest.mark.skipif(os.name == "nt", reason="an open file can't be deleted")
def test_a_deleted_file_has_fewer_links(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    fd = open_regular(tmp_path / "data")
    (tmp_path / "data").unlink()
    assert state_of(fd).n_links == 0
    os.close(fd)


def test_of_an_old_file_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    os.utime(tmp_path / "data", (1, 1))
    fd = open_regular(tmp_path / "data")
    started = time.perf_counter()
    for _ in range(100):
        outlast_clock_tick(state_of(fd))
    assert time.perf_counter() - started < 1.0  # twenty milliseconds each otherwise
    os.close(fd)


def test_what_the_system_refused_is_told_with_its_place() -> None:
    error = read_failed(Path("f"), OSError(errno.EIO, "Input/output error"), 5)
    assert (error.path, error.offset) == ("f", 5)
    assert "Input/output error" in str(error)
    assert "loop" in str(read_failed(Path("f"), OSError(errno.ELOOP, "x")))
