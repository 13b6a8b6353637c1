"""A file that changes while open is an error and never a signal or mixed weights; hints never fail."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2
from lzr2 import errors, file_source
from lzr2.file_source import IoMode, MmapSource, PreadSource, open_source

from .reference import simple_record
from .test_byte_source import DATA, open_files


def test_closing_waits_for_reads_in_flight(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    source = PreadSource(tmp_path / "data")
    with source.in_use():
        source.close()
        assert os.fstat(source._fd).st_size == len(DATA)
    assert source._fd == -1


def test_an_unknown_mode(tmp_path: Path) -> None:
    with pytest.raises(lzr2.Lzr2Error, match="unknown io mode"):
        open_source(tmp_path, "fast")  # type: ignore[arg-type]


def test_an_empty_file_can_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    source = open_source(tmp_path / "data", "mmap")
    assert source.read(0, 0) == b""
    source.close()


@pytest.mark.parametrize(
    ("call", "use"),
    [
        ("preadv", lambda source: source.read(0, 10)),
        ("pread", lambda source: source.has((0, DATA[:10]))),
        ("fstat", lambda source: source.check_unchanged()),
    ],
)
def test_a_failing_system_call_is_one_error(
    call: str, use: Callable[[PreadSource], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    source = PreadSource(tmp_path / "data")

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(file_source.os, call, fail)
    with pytest.raises(errors.IoFailedError, match="Input/output error") as caught:
        use(source)
    assert caught.value.path == str(tmp_path / "data")
    monkeypatch.undo()
    assert source.read(0, 2) == DATA[:2]
    source.close()


def test_no_file_stays_open_if_opening_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(DATA)
    before = open_files()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(file_source.mmap, "mmap", fail)
    with pytest.raises(errors.IoFailedError, match="can't be mapped"):
        MmapSource(tmp_path / "data")
    monkeypatch.undo()
    monkeypatch.setattr(file_source, "state_of", fail)
    with pytest.raises(errors.IoFailedError):
        PreadSource(tmp_path / "data")
    monkeypatch.undo()
    assert open_files() == before


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "data").write_bytes(DATA)
    monkeypatch.setattr(file_source.os, "open", refuse)
    with pytest.raises(errors.UnreadableFileError, match="Permission denied"):
        PreadSource(tmp_path / "data")
    with pytest.raises(errors.UnreadableFileError, match="a directory"):
        PreadSource(tmp_path)


def write_model(path: Path, value: float, rows: int = 300) -> None:
    lzr2.save_file({key: np.full((rows, 400), value, np.float16) for key in "abc"}, path)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    other = path.with_name("other.lzr2")
    write_model(other, 2.0)
    path.write_bytes(other.read_bytes())


def replace(path: Path) -> None:
    write_model(path, 2.0)


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("io", ["pread", "mmap"])
@pytest.mark.parametrize("change", [truncate, rewrite, replace, delete])
def test_a_file_changed_while_open_is_an_error(change: Callable[[Path], None], io: IoMode, tmp_path: Path) -> None:
    path = tmp_path / "model.lzr2"
    for _ in range(13):  # 104 runs in all
        write_model(path, 1.0, rows=30)
        with lzr2.open(path, io=io) as file:
            assert file.get_tensor("a")[0, 0] == 1.0
            change(path)
            for key in file.keys():
                with pytest.raises(errors.StaleFileError, match=r"replaced|deleted|rewritten|truncated"):
                    file.get_tensor(key)
                with pytest.raises(errors.StaleFileError):
                    file.read_inflated(key)


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_another_name_for_an_open_file_is_no_change(io: IoMode, tmp_path: Path) -> None:
    write_model(tmp_path / "model.lzr2", 1.0)
    with lzr2.open(tmp_path / "model.lzr2", io=io) as file:
        os.link(tmp_path / "model.lzr2", tmp_path / "second")
        assert file.get_tensor("a")[0, 0] == 1.0
        (tmp_path / "second").unlink()
        assert file.get_tensor("a")[0, 0] == 1.0
    os.link(tmp_path / "model.lzr2", tmp_path / "second")
    with lzr2.open(tmp_path / "model.lzr2", io=io) as file:
        (tmp_path / "second").unlink()
        assert file.get_tensor("a")[0, 0] == 1.0


_TRUNCATED_IN_A_RACE = """
import os, sys, threading, lzr2
path = sys.argv[1]
size = os.stat(path).st_size
with lzr2.open(path, io="pread") as file:
    timer = threading.Timer(0.01, os.truncate, (path, size // 3))
    timer.start()
    try:
        while True:
            for key in file.keys():
                assert (file.get_tensor(key) == 1).all()
    except lzr2.Lzr2Error as error:
        print(type(error).__name__)
    timer.join()
"""


def test_truncation_in_the_middle_of_reads_is_no_signal(tmp_path: Path) -> None:
    path = tmp_path / "model.lzr2"
    for _ in range(3):
        write_model(path, 1.0)
        result = subprocess.run(
            [sys.executable, "-c", _TRUNCATED_IN_A_RACE, str(path)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == "StaleFileError"


@pytest.mark.parametrize("failing", ["read", "array"])
def test_failing_at_the_kth_read_is_one_error_and_no_leak(failing: str, tmp_path: Path) -> None:
    path = tmp_path / "model.lzr2"
    path.write_bytes(b"LZR2" + simple_record("a") + simple_record("b"))
    reads = 0
    k = -1
    real = PreadSource._pread

    def counting(self: PreadSource, view: memoryview, offset: int) -> int:
        nonlocal reads
        reads += 1
        if reads == k:
            if failing == "read":
                raise OSError(errno.EIO, "Input/output error")
            raise MemoryError
        return real(self, view, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreadSource, "_pread", counting)
        lzr2.load_file(path)
        total = reads
        open_before = open_files()
        for k in range(1, total + 1):
            reads = 0
            with pytest.raises(errors.IoFailedError if failing == "read" else MemoryError):
                lzr2.load_file(path)
            assert reads == k
        open_after = open_files()
    assert total > 8
    assert open_after == open_before


@pytest.mark.parametrize("hint", ["will_need", "done_with"])
def test_a_hint_never_fails(hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(DATA)
    source = MmapSource(tmp_path / "data")

    def fail(*_: Any) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    class Failing:
        madvise = fail

        def close(self) -> None:
            pass

    if hint == "will_need":
        monkeypatch.setattr(file_source.os, "posix_fadvise", fail)
    else:
        assert source._map is not None
        source._map.close()
        source._map = Failing()  # type: ignore[assignment]
    getattr(source, hint)(0, len(DATA))
    assert not source._closed
    source.close()


def test_platforms_without_hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(DATA)
    monkeypatch.delattr(file_source.os, "posix_fadvise")
    monkeypatch.delattr(file_source.os, "POSIX_FADV_WILLNEED")
    monkeypatch.delattr(file_source.mmap, "MADV_DONTNEED")
    source = MmapSource(tmp_path / "data")
    source.will_need(0, 100)
    source.done_with(0, len(DATA))
    assert source.read(0, 3) == DATA[:3]
    source.close()


@pytest.mark.parametrize("io", ["pread", "mmap"])
def test_a_file_shorter_than_when_opened(io: IoMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(DATA)
    source = open_source(tmp_path / "data", io)
    os.truncate(tmp_path / "data", 1000)
    with pytest.raises(errors.StaleFileError, match="truncated"):
        source.read(900, 200)

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(file_source.os, "fstat", fail)
    monkeypatch.setattr(file_source.os, "preadv", fail)
    with pytest.raises(errors.IoFailedError, match="byte 5"):
        source.read(5, 2)
    monkeypatch.undo()
    source.close()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no such hint")
def test_only_whole_pages_leave_the_page_cache(tmp_path, monkeypatch):
    path = tmp_path / "f"
    page = mmap.PAGESIZE
    path.write_bytes(b"x" * (4 * page))
    calls = []
    source = open_source(path)
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, *args: calls.append(args))
    source.wont_need(10, 2 * page)
    source.wont_need(10, page)
    source.wont_need(0, 100 * page)
    source.close()
    source.wont_need(0, page)
    assert calls == [(page, page, os.POSIX_FADV_DONTNEED), (0, 4 * page, os.POSIX_FADV_DONTNEED)]
