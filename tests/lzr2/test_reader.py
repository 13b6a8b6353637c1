"""An open file: its keys and shapes, what is there and what isn't, from disk and from memory."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lzr2
from lzr2 import errors
from lzr2.scan import Scanner

from . import reference
from .reference import simple_record
from .test_byte_source import open_files
from .test_scan import ambiguous

TENSORS = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.ones(4, np.float16)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "w.lzr2"
    with lzr2.Writer(path) as writer:
        for key, tensor in TENSORS.items():
            writer.add(key, tensor)
        writer.add_without_payload("left out", (3, 3))
    return path


@pytest.mark.parametrize("from_memory", [False, True])
def test_what_is_in_it(path: Path, from_memory: bool) -> None:
    with lzr2.open(path.read_bytes() if from_memory else path) as file:
        assert file.keys() == list(file) == ["b", "a"]
        assert len(file) == 2
        assert "a" in file
        assert "left out" not in file
        assert str(file.path) == ("<bytes>" if from_memory else str(path))
        assert [record.key for record in file.index.records] == ["b", "a", "left out"]
        for key, tensor in TENSORS.items():
            assert file.shape(key) == tensor.shape
            read = file.get_tensor(key)
            assert read.dtype == np.float16
            assert np.array_equal(read, tensor)


def test_what_is_not_in_it(path: Path) -> None:
    with lzr2.open(path) as file:
        with pytest.raises(errors.NoPayloadError, match="base model"):
            file.get_tensor("left out")
        with pytest.raises(errors.UnknownKeyError, match="no such record"):
            file.shape("c")
        with pytest.raises(KeyError) as caught:
            file.record("c\n")
    assert str(caught.value).startswith(f"{path}, record 'c\\n': no such record")


@pytest.mark.parametrize("rows", [None, (0, 2), (1, 2), (2, 2)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_and_types(path: Path, rows: tuple[int, int] | None, dtype: type) -> None:
    wanted = TENSORS["b"][slice(*(rows or (0, 2)))].astype(dtype)
    out = np.full(wanted.shape, 7, dtype)
    with lzr2.open(path) as file:
        file.decode_into("b", out, rows)
    assert np.array_equal(out, wanted)


def test_an_index_of_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    lzr2.save_file(TENSORS, tmp_path / "other.lzr2")
    with pytest.raises(errors.StaleFileError, match="another file"):
        lzr2.open(path, index=lzr2.Index.build(tmp_path / "other.lzr2"))
    with lzr2.open(path, index=lzr2.Index.build(path)) as file:
        assert file.keys() == ["b", "a"]


def test_load_file_gives_all_that_carries_weights(path: Path) -> None:
    loaded = lzr2.load_file(path, threads=2)
    assert loaded.keys() == TENSORS.keys()
    assert all(np.array_equal(loaded[key], tensor) for key, tensor in TENSORS.items())
    assert list(path.parent.iterdir()) == [path]  # no sidecar: the file is read once


def test_a_hint_is_about_the_whole_record_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hints: list[tuple[str, int, int]] = []
    with lzr2.open(path) as file:
        for name in ("will_need", "done_with", "wont_need"):
            monkeypatch.setattr(file._source, name, lambda *where, name=name: hints.append((name, *where)))
        file.will_need("a")
        file.done_with("b")
        file.wont_need("a")
        a, b = ((file.record(key).start, file.record(key).record_nbytes) for key in "ab")
    assert hints == [("will_need", *a), ("done_with", *b), ("done_with", *a), ("wont_need", *a)]


def test_reads_are_told_of_until_nobody_listens(path: Path) -> None:
    told: list[int] = []
    with lzr2.open(path) as file:
        file.observe_reads(lambda began, ended, nbytes: told.append(nbytes))
        file.get_tensor("a")
        heard = len(told)
        file.observe_reads(None)
        file.get_tensor("a")
    assert sum(told) > 0
    assert len(told) == heard


@pytest.mark.parametrize("io", ["mmap", "pread", "from memory"])
def test_closed_it_reads_nothing_more(path: Path, io: Any) -> None:
    file = lzr2.open(path.read_bytes()) if io == "from memory" else lzr2.open(path, io=io)
    file.will_need("a")
    file.close()
    file.close()
    file.will_need("a")
    file.done_with("a")
    with pytest.raises(errors.ClosedError):
        file.get_tensor("a")


def test_failing_at_the_kth_allocation_is_one_clean_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lzr2.save_file({"large": np.random.default_rng(0).standard_normal((64, 640)).astype(np.float16)} | TENSORS, path)
    real = np.empty
    made = 0
    k = -1

    def empty(*args: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == k:
            raise MemoryError(f"allocation {k}")
        return real(*args, **options)

    def use(threads: int) -> bytes:
        with lzr2.open(path, sidecar=False) as file:
            inflated = file.read_inflated("large")
            out = real(inflated.shape, np.float16)
            lzr2.decode_inflated_into(inflated, out, threads=threads)
            return out.tobytes() + file.get_tensor("large", threads).tobytes() + file.get_tensor("a").tobytes()

    for threads in (1, 3):
        wanted = use(threads)
        monkeypatch.setattr(np, "empty", empty)
        k, made = -1, 0
        assert use(threads) == wanted
        total = made
        before = open_files()
        for k in range(1, total + 1):
            made = 0
            with pytest.raises(MemoryError, match=f"allocation {k}$"):
                use(threads)
        k = -1
        assert use(threads) == wanted
        monkeypatch.setattr(np, "empty", real)
        assert total > 8
        assert open_files() == before
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lzr2-")]


def test_one_file_shared_by_many_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {f"t{i}": rng.normal(size=(64, 300)).astype(np.float16) for i in range(6)}
    lzr2.save_file(tensors, tmp_path / "a.lzr2")
    wrong: list[str] = []
    with lzr2.open(tmp_path / "a.lzr2") as file:

        def work(seed: int) -> None:
            order = np.random.default_rng(seed)
            for _ in range(30):
                key = f"t{order.integers(6)}"
                file.will_need(key)
                if not np.array_equal(reference.bits(file.get_tensor(key)), reference.bits(tensors[key])):
                    wrong.append(key)
                file.done_with(key)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_misled_index_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"LZR2" + ambiguous(70_000, 100, entries=3) + simple_record("b")
    with lzr2.open(data) as file:
        wanted = {k: file.get_tensor(k).tobytes() for k in file.keys()}
    monkeypatch.setattr(Scanner, "_fitting_sizes", lambda self, info: [12])
    wrong_data = b"LZR2" + ambiguous(70_000, 100, entries=3) + bytes(12)
    with lzr2.open(wrong_data) as wrong:
        monkeypatch.undo()
        with pytest.raises(errors.TruncatedError):  # the bytes after the overlay are no record
            wrong.get_tensor("a")
    with lzr2.open(data) as file:
        file._index = _with_wrong_size(file.index)
        assert file.get_tensor("a").tobytes() == wanted["a"]
        assert file.record("a").entry_nbytes == 8
        file._index = _with_wrong_size(file.index)
        assert file.read_inflated("a").overlay_positions.size <= 3


def test_a_file_that_only_the_wrong_entry_size_lets_parse_is_an_error_at_its_first_fault() -> None:
    data = b"LZR2" + ambiguous(70_000, 100, entries=3) + b"\xff" * 12
    with lzr2.open(data) as file:
        assert file.record("a").entry_nbytes == 12  # with 8 the scan ends in a key of 4 GiB
        with pytest.raises(errors.KeyFieldError) as caught:
            file.get_tensor("a")
        assert caught.value.offset == len(data) - 12


def test_a_misled_index_that_cannot_be_settled_is_an_error() -> None:
    data = b"LZR2" + ambiguous(70_000, 100, entries=3) + simple_record("b")
    with lzr2.open(data) as file:
        right = file.record("a")
        wrong = _with_wrong_size(file.index)
        file._index = dataclasses.replace(
            wrong, records=tuple(dataclasses.replace(r, checksum=0) for r in wrong.records[1:]) + wrong.records[:1]
        )
        assert file._settled("a", right, errors.EntrySizeError("misled")).entry_nbytes == 12  # someone else's repair
        file._index = dataclasses.replace(
            wrong, records=tuple(dataclasses.replace(r, checksum=0) for r in wrong.records)
        )
        with pytest.raises(errors.EntrySizeError, match="misled"):
            file._settled("a", file.record("a"), errors.EntrySizeError("misled"))


def _with_wrong_size(index: lzr2.Index) -> lzr2.Index:
    first, *others = index.records
    wrong = dataclasses.replace(first, entry_nbytes=12, end=first.overlay_start + 12 * first.overlay_count)
    return dataclasses.replace(index, records=(wrong, *others))
