"""What is said of the machine."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch

from benchmarks.compare.machine import PACKAGES, machine, revision
from streamer.bench.storage_kind import Storage, StorageKind


def test_it_is_json_and_says_what_decides(tmp_path):
    found = machine(tmp_path, "cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["device"] == "the processor"
    assert found["versions"].keys() == set(PACKAGES)
    assert found["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        (Storage(StorageKind.NVME, "ext4", "nvme0n1p2"), "ext4 on NVMe SSD"),
        (Storage(StorageKind.MEMORY, "tmpfs"), "tmpfs"),
        (Storage(StorageKind.UNKNOWN, "zfs"), "zfs"),
        (Storage(StorageKind.NETWORK), "network"),
        (Storage(StorageKind.UNKNOWN), None),
    ],
)
def test_storage_is_told_by_file_system_and_kind(monkeypatch, tmp_path, storage, told):
    monkeypatch.setattr("benchmarks.compare.machine.find_storage", lambda folder: storage)
    assert machine(tmp_path, "cpu")["storage"] == told


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path):
    def git(*command):
        command = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", *command)
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")[:12]
    (tmp_path / "beside").write_text("not of it")
    assert revision(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert revision(tmp_path) == f"{commit}+"


def test_outside_a_repository_no_commit_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision(tmp_path) is None
