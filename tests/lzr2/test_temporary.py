"""Names of temporary files: beside the target, never one that exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lzr2 import temporary
from lzr2.errors import IoFailedError
from lzr2.temporary import Draft, create_beside, remove_unfinished, require_replaceable


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


def test_a_draft_is_at_its_path_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Draft(path) as draft:
        draft.file.write(b"one")
        draft.finish()
        assert not path.exists()
        draft.put_in_place()
    assert path.read_bytes() == b"one"
    with Draft(path) as draft:
        draft.file.write(b"two")
        draft.put_in_place()
        draft.discard()
    with Draft(path) as draft:
        draft.file.write(b"three")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_at_the_hard_end_of_a_process_no_draft_is_left(tmp_path: Path) -> None:
    with Draft(tmp_path / "a") as one, Draft(tmp_path / "b") as other:
        one.file.write(b"x")
        assert len(list(tmp_path.iterdir())) == 2
        remove_unfinished()
        assert not list(tmp_path.iterdir())
        with pytest.raises(FileNotFoundError):
            other.put_in_place()
        remove_unfinished()


def test_a_name_that_cannot_be_made_is_not_remembered(tmp_path: Path) -> None:
    listed: set[str] = set()
    with pytest.raises(FileNotFoundError):
        create_beside(tmp_path / "none" / "a", listed)
    assert not listed


def test_only_a_file_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_replaceable(tmp_path / "file")
    require_replaceable(tmp_path / "free")
    with pytest.raises(IoFailedError, match="directory"):
        require_replaceable(tmp_path)
