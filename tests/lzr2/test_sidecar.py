"""A sidecar is used only for exactly the file it was made of; whatever it holds, weights are never other ones."""

from __future__ import annotations

import json
import os
import stat
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lzr2
from lzr2 import errors, sidecar

from .machine_pace import paced_seconds
from .reference import simple_record
from .test_index import many_records

KEYS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sidecar.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    path = tmp_path / "files" / "model.lzr2"
    path.parent.mkdir()
    path.write_bytes(b"LZR2" + b"".join(simple_record(key, seed=i) for i, key in enumerate(KEYS)))
    return path


def side(path: Path) -> Path:
    return path.with_name("model.lzr2.index.json")


def test_the_second_opening_uses_the_sidecar(path: Path) -> None:
    first = lzr2.Index.open(path)
    assert not first.from_sidecar
    assert first.sidecar_path == side(path)
    assert first.bytes_read > 0
    second = lzr2.Index.open(path)
    assert second.from_sidecar
    assert second.bytes_read == 0
    assert second.records == first.records
    assert second.n_weights == 3 * 60
    with lzr2.open(path) as file:
        assert file.index.from_sidecar
        assert file.keys() == list(KEYS)


def test_no_sidecar_if_none_is_wanted(path: Path) -> None:
    with lzr2.open(path, sidecar=False) as file:
        assert file.index.sidecar_path is None
    assert not side(path).exists()


def test_the_cache_folder_where_the_folder_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = sidecar.save

    def refuse(place: Path, *args: Any) -> None:
        if place.parent == path.parent:
            raise PermissionError
        save(place, *args)

    monkeypatch.setattr(sidecar, "save", refuse)
    index = lzr2.Index.open(path)
    assert index.sidecar_path is not None
    assert "cache" in index.sidecar_path.parts
    assert lzr2.Index.open(path).from_sidecar
    assert list(path.parent.iterdir()) == [path]


def test_no_place_at_all_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(sidecar, "save", refuse)
    index = lzr2.Index.open(path)
    assert index.sidecar_path is None
    assert len(index.records) == 3


def test_a_failed_save_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sidecar, "text_of", fail)
    assert lzr2.Index.open(path).sidecar_path is None
    assert list(path.parent.iterdir()) == [path]


def changed_content(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + simple_record("d"))


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    state = path.stat()
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)


def rewritten_with_the_old_time(path: Path) -> None:
    state = path.stat()
    changed_content(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", [changed_content, longer, touched, replaced, rewritten_with_the_old_time])
def test_a_stale_sidecar_is_rebuilt(path: Path, change: Any) -> None:
    old = lzr2.Index.open(path)
    change(path)
    new = lzr2.Index.open(path)
    assert not new.from_sidecar
    assert new.fingerprint != old.fingerprint
    assert lzr2.Index.open(path).from_sidecar
    with pytest.raises(errors.StaleFileError, match="another file"):
        lzr2.open(path, index=old)
    with lzr2.open(path, index=new) as file:
        assert file.index is new


DAMAGE: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"\x00\xff\x00",
    "another type": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "a number": b"1",
    "infinite": b'{"format":"lzr2-index","version":1,"file":{"nbytes":1e999}}',
    "no records": b'{"format":"lzr2-index","version":1,"file":{}}',
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_sidecar_is_rebuilt(path: Path, name: str) -> None:
    side(path).write_bytes(DAMAGE[name])
    index = lzr2.Index.open(path)
    assert not index.from_sidecar
    assert [r.key for r in index.records] == list(KEYS)
    assert lzr2.Index.open(path).from_sidecar


def test_a_sidecar_that_is_no_file_is_not_waited_for(path: Path) -> None:
    os.mkfifo(side(path))
    assert len(lzr2.Index.open(path).records) == 3
    side(path).unlink()
    side(path).mkdir()
    assert len(lzr2.Index.open(path).records) == 3


@pytest.mark.parametrize("line", [b"[],", b"[],\n", b'["a",[3,20],8,1,0,8],\n', b"x"])
def test_of_a_huge_sidecar_little_is_read(path: Path, line: bytes) -> None:
    lzr2.Index.open(path)
    head = side(path).read_bytes().splitlines(keepends=True)[0]
    side(path).write_bytes(head + line * (16 * 1024 * 1024 // len(line)))
    tracemalloc.start()
    began = time.perf_counter()
    index = lzr2.Index.open(path)
    seconds, grown = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not index.from_sidecar
    assert [r.key for r in index.records] == list(KEYS)
    assert seconds < 1
    assert grown < 1 << 20


def test_the_sidecar_is_json_for_others(path: Path) -> None:
    lzr2.Index.open(path, checksum=True)
    content = json.loads(side(path).read_text())
    assert [row[0] for row in content["records"]] == list(KEYS)
    assert len(content["columns"]) == len(content["records"][0]) == 7
    path.write_bytes(b"LZR2")
    assert lzr2.Index.open(path).records == ()
    assert json.loads(side(path).read_text())["records"] == []
    assert lzr2.Index.open(path).from_sidecar


def test_one_changed_character_of_a_sidecar_and_it_is_made_anew(path: Path) -> None:
    """Also a checksum's: else the file would be called damaged."""
    lzr2.Index.open(path, checksum=True)
    whole = side(path).read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] = ord("7") if whole[at] != ord("7") else ord("8")
        side(path).write_bytes(changed)
        assert not lzr2.Index.open(path).from_sidecar, at


def edit(path: Path, change: Any) -> None:
    content = json.loads(side(path).read_text())
    change(content)
    try:
        text = sidecar.text_of(content["file"], content["records"])  # with the right digest
    except TypeError:
        text = json.dumps(content).encode()
    text = text.replace(b'"format":"lzr2-index","version":2', b'"format":"%s","version":%d' % (
        content["format"].encode(), content["version"]), 1)  # fmt: skip
    side(path).write_bytes(text)


EDITS: dict[str, Any] = {
    "version": lambda c: c.update(version=3),
    "format": lambda c: c.update(format="other"),
    "records gone": lambda c: c["records"].pop(),
    "records no list": lambda c: c.update(records={}),
    "record empty": lambda c: c["records"].__setitem__(0, []),
    "key no text": lambda c: c["records"][0].__setitem__(0, 5),
    "key too long": lambda c: c["records"][0].__setitem__(0, "k" * 5000),
    "key longer": lambda c: c["records"][0].__setitem__(0, "aa"),
    "key surrogate": lambda c: c["records"][0].__setitem__(0, "\ud800"),
    "shape text": lambda c: c["records"][0].__setitem__(1, "35"),
    "shape negative": lambda c: c["records"][0].__setitem__(1, [-3, 20]),
    "shape float": lambda c: c["records"][0].__setitem__(1, [3.0, 20]),
    "shape bool": lambda c: c["records"][0].__setitem__(1, [True, 20]),
    "too many dimensions": lambda c: c["records"][0].__setitem__(1, [1] * 9),
    "payload gone": lambda c: c["records"].__setitem__(0, ["a", [3, 20]]),
    "shape huge": lambda c: c["records"][0].__setitem__(1, [2**40, 20]),
    "shape empty": lambda c: c["records"][0].__setitem__(1, []),
    "d": lambda c: c["records"][0].__setitem__(2, 0),
    "d 33": lambda c: c["records"][0].__setitem__(2, 33),
    "stream huge": lambda c: c["records"][0].__setitem__(3, 2**63),
    "stream huger": lambda c: c["records"][0].__setitem__(3, 2**70),
    "entries": lambda c: c["records"][0].__setitem__(5, 9),
    "more numbers": lambda c: c["records"][0].extend([1, 2]),
    "one checksum only": lambda c: c["records"][0].append(5),
    "size": lambda c: c["file"].update(nbytes=c["file"]["nbytes"] + 1),
    "digest": lambda c: c["file"].update(digest="00"),
    "digest no text": lambda c: c["file"].update(digest=None),
    "time": lambda c: c["file"].update(mtime_ns="now"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_sidecar_is_rebuilt(path: Path, name: str) -> None:
    lzr2.Index.open(path)
    edit(path, EDITS[name])
    index = lzr2.Index.open(path)
    assert not index.from_sidecar
    assert [(r.key, r.shape) for r in index.records] == [(key, (3, 20)) for key in KEYS]


def without_payload(content: Any, first: int, n: int) -> None:
    """The rows become one without a payload, of the same length in the file."""
    nbytes = {"a": 0}
    position = 4
    for i, (key, shape, d, z_nbytes, count, entry, *_) in enumerate(content["records"]):
        end = position + 4 + len(key) + 4 + 4 * len(shape) + 1 + 4 + 4 * shape[0] * (d + 2) + 4 + z_nbytes + 4
        end += count * entry
        if first <= i < first + n:
            nbytes["a"] += end - position
        position = end
    content["records"][first : first + n] = [["x" * (nbytes["a"] - 9), []]]


LIES: dict[str, Any] = {
    "a record without payload": lambda c: without_payload(c, 1, 1),
    "two records swallowed": lambda c: without_payload(c, 1, 2),
    "shape": lambda c: c["records"][0].__setitem__(1, [3, 24]),
    "key": lambda c: c["records"][0].__setitem__(0, "z"),
    "stream and overlay": lambda c: (
        c["records"][0].__setitem__(3, c["records"][0][3] + 8),
        c["records"][0].__setitem__(4, 4),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_consistent_lie_is_noticed_and_the_index_made_anew(path: Path, name: str) -> None:
    true = lzr2.Index.open(path).records
    edit(path, LIES[name])
    records, _ = sidecar.load(side(path))  # consistent with itself, or this would raise
    assert records != true
    index = lzr2.Index.open(path)
    assert not index.from_sidecar
    assert [(r.key, r.shape, r.end) for r in index.records] == [(r.key, r.shape, r.end) for r in true]


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_flipped_sidecar_never_changes_weights(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("flip") / "model.lzr2"
    path.write_bytes(b"LZR2" + simple_record("a"))
    whole = lzr2.load_file(path)["a"].tobytes()
    lzr2.Index.open(path)
    data = bytearray(side(path).read_bytes())
    position %= len(data)
    data[position] = byte
    side(path).write_bytes(data[:position] if cut else data)
    try:
        with lzr2.open(path) as file:
            tensors = {key: file.get_tensor(key).tobytes() for key in file.keys()}
    except lzr2.Lzr2Error:
        return
    assert tensors == {"a": whole}


@pytest.mark.timing
def test_a_sidecar_of_many_records_loads_fast(path: Path) -> None:
    path.write_bytes(many_records(1680))
    lzr2.Index.open(path)
    index = lzr2.Index.open(path)
    assert index.from_sidecar
    assert len(index.records) == 1680
    assert paced_seconds(lambda: lzr2.Index.open(path)) < 0.05


def test_the_sidecars_permissions_follow_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.lzr2"
    lzr2.save_file({"a": np.ones((2, 2), np.float16)}, path)
    mask = os.umask(0o027)
    try:
        with lzr2.open(path):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.lzr2.index.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_is_written_again_is_not_taken_for_a_damaged_one(path: Path, linked: bool) -> None:
    # Size, head and tail stay as they were: of two trainings that left the first and the last tensor alone.
    frozen = np.random.default_rng(0).standard_normal((320, 36)).astype(np.float16)

    def write(to: Path, seed: int) -> None:
        trained = np.random.default_rng(seed).standard_normal((64, 640)).astype(np.float16)
        lzr2.save_file({"first": frozen, "trained": trained, "last": frozen}, to, overlay_fraction=0.1, d=10)

    write(path, 1)
    size = path.stat().st_size
    assert lzr2.Index.open(path, checksum=True).has_checksums
    if linked:
        path.with_name("link").symlink_to(path)
    write(path.with_name("link") if linked else path, 2)
    assert path.stat().st_size == size
    with lzr2.open(path) as file:
        assert not file.index.has_checksums
        file.get_tensor("trained")
