"""An index finds everything from few bytes, and with checksums notices every changed bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import lzr2
from lzr2 import errors, sidecar

from .reference import record, simple_record

KEYS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sidecar.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    path = tmp_path / "files" / "model.lzr2"
    path.parent.mkdir()
    path.write_bytes(b"LZR2" + b"".join(simple_record(key, seed=i) for i, key in enumerate(KEYS)))
    return path


def test_checksums_are_kept_when_the_sidecar_is_renewed(path: Path) -> None:
    with_checksums = lzr2.Index.open(path, checksum=True)
    assert with_checksums.has_checksums
    assert with_checksums.bytes_read >= path.stat().st_size - 4
    assert lzr2.Index.open(path).has_checksums
    path.write_bytes(path.read_bytes() + simple_record("d"))
    renewed = lzr2.Index.open(path, checksum=True)
    assert not renewed.from_sidecar
    assert renewed.has_checksums


def test_checksums_outlive_another_time_and_another_inode(path: Path) -> None:
    lzr2.Index.open(larger(path), checksum=True)
    os.utime(path)
    assert lzr2.Index.open(path).has_checksums
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    with lzr2.open(path) as file:
        assert file.index.has_checksums
        assert file.index.fingerprint == lzr2.Index.build(path).fingerprint
    data = bytearray(path.read_bytes())
    data[lzr2.Index.build(path).by_key["b"].overlay_start + 6] ^= 1
    path.write_bytes(data)
    with lzr2.open(path) as file, pytest.raises(errors.ChecksumError, match="anew"):
        file.get_tensor("b")
    with pytest.raises(errors.ChecksumError):
        lzr2.load_file(path)


def test_after_a_change_that_was_meant_checksums_are_taken_anew_on_request(path: Path) -> None:
    lzr2.Index.open(larger(path), checksum=True)
    data = bytearray(path.read_bytes())
    data[lzr2.Index.build(path).by_key["b"].overlay_start + 6] ^= 1
    path.write_bytes(data)
    with lzr2.open(path) as file, pytest.raises(errors.ChecksumError, match="make its index anew"):
        file.get_tensor("b")
    index = lzr2.Index.open(path, checksum=True, anew=True)
    assert index.has_checksums
    assert not index.from_sidecar
    with lzr2.open(path) as file:
        assert file.index.from_sidecar
        assert file.index.has_checksums
        file.get_tensor("b")


def test_a_checksum_upgrades_a_plain_sidecar(path: Path) -> None:
    assert not lzr2.Index.open(path).has_checksums
    assert lzr2.Index.open(path, checksum=True).has_checksums
    assert lzr2.Index.open(path).has_checksums


def flipped_bits(path: Path, n: int) -> tuple[int, int]:
    """Flips n random bits, one at a time, behind the back of a checksummed index; returns (noticed, harmless)."""
    rng = np.random.default_rng(0)
    index = lzr2.Index.open(path, checksum=True)
    whole = lzr2.load_file(path)
    state = path.stat()
    data = bytearray(path.read_bytes())
    noticed = harmless = 0
    with path.open("r+b", buffering=0) as raw:
        for bit in rng.integers(0, 8 * len(data), n):
            at = int(bit) // 8
            os.pwrite(raw.fileno(), bytes([data[at] ^ 1 << int(bit) % 8]), at)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
            try:
                with lzr2.open(path, index=index) as file:
                    # The record that the bit is in, and one more.
                    hit = [r.key for r in index.records if r.start <= at < r.end] + ["a"]
                    same = all(np.array_equal(file.get_tensor(k).view("u2"), whole[k].view("u2")) for k in hit)
                assert same, f"bit {bit} changed weights unnoticed"
                harmless += 1
            except lzr2.Lzr2Error:
                noticed += 1
            os.pwrite(raw.fileno(), data[at : at + 1], at)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    return noticed, harmless


def larger(path: Path) -> Path:
    """Large enough that the digest of head and tail leaves most of the file to the checksums."""
    path.write_bytes(b"LZR2" + b"".join(simple_record(key, 20, 1500, seed=i) for i, key in enumerate(KEYS)))
    assert path.stat().st_size > 15_000
    return path


def test_the_error_names_the_damaged_record(path: Path) -> None:
    index = lzr2.Index.open(larger(path), checksum=True)
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[index.records[1].scale_start + 5] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with lzr2.open(path) as file:
        assert file.index.from_sidecar
        assert file.get_tensor("a").shape == (20, 1500)
        with pytest.raises(errors.ChecksumError, match=r"record 'b'.*bytes have changed: found checksum"):
            file.get_tensor("b")
        with pytest.raises(errors.ChecksumError):
            file.read_inflated("b")


def test_flipped_bits_are_noticed(path: Path) -> None:
    path = larger(path)
    assert flipped_bits(path, 500) == (500, 0)


@pytest.mark.slow
def test_ten_thousand_flipped_bits_are_noticed(path: Path) -> None:
    path = larger(path)
    assert flipped_bits(path, 10_000) == (10_000, 0)


def many_records(n: int, nbytes: int = 0) -> bytes:
    rng = np.random.default_rng(0)
    rows = 8
    one = record("k" * 60, (rows, 64), 8, rng.normal(size=rows), rng.normal(size=rows), np.zeros((rows, 8), np.uint16))
    parts = []
    for i in range(n):
        key = f"down_blocks.{i}.attentions.0.transformer_blocks.0.weight".ljust(60, "_")
        parts.append(one.replace(b"k" * 60, key.encode()))
    return b"LZR2" + b"".join(parts)


def test_a_scan_reads_a_thousandth_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.lzr2"
    rng = np.random.default_rng(0)
    encoded = lzr2.EncodedTensor(
        shape=(64, 8192),
        d=8,
        offset=np.zeros(64, np.float32),
        scale=np.ones(64, np.float32),
        indices=rng.integers(0, 6561, (64, 1024)).astype(np.uint16),
        overlay_rows=np.zeros(64_000, np.uint16),
        overlay_columns=np.zeros(64_000, np.uint16),
        overlay_values=np.zeros(64_000, np.float32),
    )
    lzr2.write_records(path, ((f"blocks.{i}.weight", encoded) for i in range(20)))
    index = lzr2.Index.build(path)
    assert len(index.records) == 20
    assert index.bytes_read < 0.001 * path.stat().st_size
    assert index.section_nbytes()["overlay"] == 20 * 8 * 64_000


def test_with_checksums_a_changed_tail_is_an_error_and_not_another_file(path: Path) -> None:
    assert lzr2.Index.open(path, checksum=True).has_checksums
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(errors.ChecksumError, match="head or tail"):
        lzr2.open(path)
    os.utime(path)  # somebody wrote to it after all
    with lzr2.open(path) as file:
        assert not file.index.has_checksums


def test_progress_of_checksums_ends_with_the_whole_file(path: Path) -> None:
    told: list[tuple[int, int]] = []
    lzr2.Index.open(path, checksum=True, on_bytes=lambda done, total: told.append((done, total)))
    assert len(told) == len(KEYS)
    assert told[-1] == (path.stat().st_size,) * 2


def test_a_sidecar_whose_file_cannot_be_read_is_not_trusted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lzr2 import index
    from lzr2.errors import IoFailedError
    from lzr2.file_source import PreadSource

    lzr2.Index.open(path)

    def failing(source: object, record: object) -> bool:
        raise IoFailedError("the file can't be read", path=path)

    monkeypatch.setattr(index, "describes", failing)
    source = PreadSource(path)
    assert lzr2.Index.saved(source) is None
    monkeypatch.undo()
    assert lzr2.Index.saved(source) is not None
    source.close()
