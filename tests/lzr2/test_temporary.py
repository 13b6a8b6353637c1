"""Names of temporary files: beside the target, never one that exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lzr2 import temporary
from lzr2.temporary import create_beside


def test_beside_the_target_and_short_enough_for_any_name(tmp_path: Path) -> None:
    fd, made = create_beside(tmp_path / ("x" * 255))
    os.write(fd, b"abc")
    os.close(fd)
    assert made.parent == tmp_path
    assert made.read_bytes() == b"abc"


def test_an_existing_file_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["1", "1", "1", "2"])
    monkeypatch.setattr(temporary.secrets, "token_hex", lambda nbytes: next(tokens))
    made = []
    for _ in range(2):
        fd, path = create_beside(tmp_path / "a")
        os.close(fd)
        made.append(path.name)
    assert made == [".a.1.tmp", ".a.2.tmp"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_beside(tmp_path / "none" / "a")
