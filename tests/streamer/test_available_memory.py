"""What is free is the machine's, and no more than control groups leave."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from streamer import available_memory
from streamer.available_memory import available_nbytes

MACHINE = 10**12


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    memory = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=MACHINE))
    monkeypatch.setattr(available_memory, "psutil", memory)


@pytest.fixture
def groups(tmp_path):
    """Writes a group of the second version; `groups.ask` says what is available."""
    (tmp_path / "proc").write_text("0::/user/app\n")

    def write(path: str, most: str, used: int, file: int = 0, shmem: int = 0) -> None:
        group = tmp_path / path
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.max").write_text(f"{most}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 400\nfile {file}\nfile_mapped 99\nshmem {shmem}\n")

    write.folder = tmp_path  # type: ignore[attr-defined]
    write.ask = lambda: available_nbytes(tmp_path / "proc", tmp_path)  # type: ignore[attr-defined]
    return write


def test_pages_of_files_can_be_taken_back_and_those_of_a_tmpfs_cannot(groups):
    groups("user/app", "1000", 700, file=300)
    assert groups.ask() == 600
    groups("user/app", "1000", 700, file=300, shmem=200)
    assert groups.ask() == 400


def test_above_the_limit_nothing_is_left(groups):
    groups("user/app", "100", 700)
    assert groups.ask() == 0


def test_a_limit_on_a_group_above_holds_too(groups):
    groups("user/app", "max", 100)
    groups("user", "1000", 900)
    assert groups.ask() == 100
    groups("user/app", "150", 100)
    assert groups.ask() == 50


def test_a_container_may_see_its_own_group_as_the_topmost(groups):
    groups(".", "1000", 300)
    assert groups.ask() == 700
    (groups.folder / "proc").write_text("0::/../../elsewhere\n")
    assert groups.ask() == 700


def test_where_a_process_is_slowed_down_is_a_limit_too(groups):
    groups("user/app", "1000", 300)
    (groups.folder / "user/app/memory.high").write_text("500\n")
    assert groups.ask() == 200


@pytest.mark.parametrize("most", ["max", "nonsense", "99999999999999999"])
def test_without_a_limit_it_is_the_machines(groups, most):
    groups("user/app", most, 700, file=300)
    assert groups.ask() == MACHINE


def test_control_groups_of_the_first_version(tmp_path):
    (tmp_path / "proc").write_text("12:pids:/docker/abc\n4:cpu,memory:/docker/abc\n0::/docker/abc\n")
    group = tmp_path / "memory/docker/abc"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory.usage_in_bytes").write_text("700\n")
    (group / "memory.stat").write_text("cache 1\ntotal_cache 300\ntotal_shmem 100\n")
    assert available_nbytes(tmp_path / "proc", tmp_path) == 500
    (group / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")  # how it says: none
    assert available_nbytes(tmp_path / "proc", tmp_path) == MACHINE


@pytest.mark.parametrize("text", ["", "0::/user/app\n", "nonsense\n", "\x00\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path, text):
    (tmp_path / "proc").write_text(text)
    assert available_nbytes(tmp_path / "proc", tmp_path) == MACHINE
    assert available_nbytes(tmp_path / "gone", tmp_path) == MACHINE


def test_this_process_has_some(monkeypatch):
    monkeypatch.setattr(available_memory, "psutil", psutil)
    assert 0 < available_nbytes() <= psutil.virtual_memory().total
