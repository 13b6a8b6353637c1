"""The scan finds every record's sections, also where only the indices tell how large an overlay entry is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import lzr2
from lzr2 import errors
from lzr2.scan import Scanner

from . import reference
from .reference import record, simple_record


def ambiguous(columns: int, blocks: int, d: int = 8, entries: int = 6, key: str = "a") -> bytes:
    """A record whose shape leaves the entry size open."""
    rng = np.random.default_rng(blocks)
    values = rng.integers(0, 3**d, (2, blocks)).astype(np.uint16)
    overlay = [(int(rng.integers(2)), int(rng.integers(columns)), 0.5) for _ in range(entries)]
    overlay = [(r, c % 60_000, v) for r, c, v in overlay]
    return record(key, (2, columns), d, rng.normal(size=2), rng.normal(size=2), values, overlay)


@pytest.mark.parametrize("blocks", [0, 100, 5000, 8191, 8192, 8750])
@pytest.mark.parametrize("followed", [False, True])
def test_the_entry_size_is_found(blocks: int, followed: bool, tmp_path: Path) -> None:
    data = b"LZR2" + ambiguous(70_000, blocks) + (simple_record("b") if followed else b"")
    (tmp_path / "a.lzr2").write_bytes(data)
    index = lzr2.Index.build(tmp_path / "a.lzr2")
    assert index.records[0].entry_nbytes == (8 if blocks < 8192 else 12)
    assert index.bytes_read < 2000  # nothing was inflated
    assert {k: t.tobytes() for k, t in lzr2.load_file(tmp_path / "a.lzr2").items()} == {
        k: t.tobytes() for k, t in reference.decode(data).items()
    }


def test_inflating_settles_what_parses_both_ways() -> None:
    # Read as eight-byte entries, the overlay ends where its last bytes form two records without payload.
    entries = 6
    body = ambiguous(70_000, 8750, entries=0)[:-4] + entries.to_bytes(4, "little")
    inner = reference.header("xxx", (), 0)
    inner += reference.header("y" * (entries * 4 - len(inner) - 9), (), 0)
    raw = bytes(entries * 8) + inner
    data = b"LZR2" + body + raw + simple_record("b")
    with lzr2.open(data) as file:
        assert file.keys() == ["a", "b"]
        assert file.record("a").entry_nbytes == 12
        scanned = {k: file.get_tensor(k).tobytes() for k in file.keys()}
    assert scanned == {k: t.tobytes() for k, t in reference.decode(data).items()}


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


def test_an_index_of_bytes_is_kept_nowhere() -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file:
        assert file.index.save() is file.index
        assert file.path == Path("<bytes>")
    with lzr2.open(b"LZR2" + simple_record(), index=file.index) as again:
        assert again.keys() == ["a.weight"]


def test_a_record_knows_its_sections() -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file:
        record = file.record("a.weight")
    assert record.payload_nbytes + (record.payload_start - record.start) == record.record_nbytes
    assert record.n_weights == 60


def _with_wrong_size(index: lzr2.Index) -> lzr2.Index:
    first, *others = index.records
    wrong = dataclasses.replace(first, entry_nbytes=12, end=first.overlay_start + 12 * first.overlay_count)
    return dataclasses.replace(index, records=(wrong, *others))
