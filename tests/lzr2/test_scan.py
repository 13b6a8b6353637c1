"""The scan finds every record's sections, also where only the indices tell how large an overlay entry is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lzr2

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


def test_an_index_of_bytes_is_kept_nowhere() -> None:
    with lzr2.open(b"LZR2" + simple_record()) as file:
        assert file.index.save() is file.index
        assert file.path == Path("<bytes>")
    with lzr2.open(b"LZR2" + simple_record(), index=file.index) as again:
        assert again.keys() == ["a.weight"]
