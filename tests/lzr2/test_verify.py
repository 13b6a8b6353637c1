"""Every oddity is reported; comparison with a reference tells exact from close."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import lzr2

from .reference import GOLDEN, golden_names, header, record, simple_record
from .reference import lzr2 as lzr2_bytes

FINDINGS = {
    "duplicates_last_wins": {"duplicates", "unsorted"},
    "empty_file": {"no weights"},
    "extreme_values": {"not finite"},
    "lattice_longer_than_row": {"long lattice"},
    "lattice_shorter_than_row": {"short lattice"},
    "no_lattice_blocks": {"short lattice"},
    "no_payload_flag": {"no payload"},
    "overlay_out_of_range_ignored": {"outside"},
    "repeated_key": {"repeated key"},
}


@pytest.mark.parametrize("name", golden_names())
def test_golden_files(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as tensors:
        report = lzr2.verify(GOLDEN / f"{name}.lzr2", dict(tensors))
    assert {f.kind for f in report.findings} == FINDINGS.get(name, set())
    assert report.ok()
    assert report.ok(strict=True) == (name not in FINDINGS)
    compared = [r.comparison for r in report.records if r.comparison]
    assert all(c.exact and c.max_error == 0 and c.snr_db == np.inf for c in compared)
    assert len({r.key for r in report.records if r.comparison}) == len(tensors.files)


def test_each_oddity_in_one_file() -> None:
    sane = simple_record("a")
    flat = np.zeros((2, 1), np.uint16)
    data = b"LZR2" + b"".join(
        (
            sane,
            header("flagged", (2,), 7),
            header("nothing", (0, 3), 0),
            simple_record("\n"),
            record("deep", (2, 3), 11, np.zeros(2), np.ones(2), flat),
            record("infinite", (2, 3), 3, np.zeros(2), np.array([np.inf, 1]), flat),
        )
    )
    report = lzr2.verify(data)
    kinds = {r.key: {f.kind for f in r.findings} for r in report.records}
    assert kinds["flagged"] == {"no payload", "odd flag"}
    assert kinds["nothing"] == {"no payload", "no elements"}
    assert "odd key" in kinds["\n"]
    assert kinds["deep"] == {"large d"}
    assert kinds["infinite"] == {"not finite"}


def test_one_bad_record_does_not_hide_the_others(tmp_path: Path) -> None:
    bad = bytearray(simple_record("bad"))
    at = bad.index(b"\x78\x9c")  # the zlib header
    bad[at] ^= 0xFF
    path = tmp_path / "a.lzr2"
    path.write_bytes(b"LZR2" + simple_record("a") + bytes(bad) + simple_record("b"))
    report = lzr2.verify(path)
    assert not report.ok()
    errors = [f for f in report.findings if f.severity == "error"]
    assert [(f.kind, f.key) for f in errors] == [("StreamError", "bad")]
    assert [r.key for r in report.records] == ["a", "bad", "b"]


def test_a_damaged_stream_whose_entry_size_is_open() -> None:
    bad = record("bad", (2, 70_000), 8, np.zeros(2), np.zeros(2), np.zeros((2, 8750), np.uint16), [(0, 0, 1.0)])
    at = bad.index(b"\x78\x9c")
    ambiguous = bad[:at] + b"\x00" + bad[at + 1 :]
    report = lzr2.verify(b"LZR2" + ambiguous + simple_record("b"))
    assert [r.key for r in report.records] == ["bad", "b"]
    assert [f.key for f in report.findings if f.severity == "error"] == ["bad"]


def test_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensor = rng.normal(0, 1, (40, 50)).astype(np.float16)
    lzr2.save_file({"a": tensor, "b": tensor}, tmp_path / "a.lzr2", overlay_fraction=0.5)
    report = lzr2.verify(tmp_path / "a.lzr2", {"a": tensor, "b": tensor[:, :10], "c": tensor, "d": tensor}, threads=2)
    a, b = report.records
    assert a.comparison is not None
    assert not a.comparison.exact
    assert 0 < a.comparison.max_error < 1
    assert 15 < a.comparison.snr_db < 30
    assert 0.3 * tensor.size < a.comparison.n_different <= 0.5 * tensor.size
    assert b.comparison is None
    assert {(f.severity, f.kind) for f in report.findings} == {("error", "shape"), ("finding", "missing keys")}


def test_comparison_of_what_is_not_finite(tmp_path: Path) -> None:
    tensor = np.array([[np.nan, np.inf, 1.0, 0.0]], np.float16)
    lzr2.save_file({"a": tensor}, tmp_path / "a.lzr2")
    (same,) = lzr2.verify(tmp_path / "a.lzr2", {"a": -tensor.astype(np.float32) * -1}).records
    assert same.comparison is not None
    assert same.comparison.exact
    (other,) = lzr2.verify(tmp_path / "a.lzr2", {"a": np.zeros((1, 4))}).records
    assert other.comparison is not None
    assert other.comparison.n_different == 3
    assert other.comparison.snr_db == -np.inf


def test_what_is_no_lzr2_file(tmp_path: Path) -> None:
    (tmp_path / "a.lzr2").write_bytes(b"PK\x03\x04")
    report = lzr2.verify(tmp_path / "a.lzr2")
    assert [f.kind for f in report.findings] == ["NotLzr2Error"]
    with pytest.raises(FileNotFoundError):
        lzr2.verify(tmp_path / "none")


def test_the_checksums_of_an_index_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.lzr2"
    path.write_bytes(b"LZR2" + b"".join(simple_record(f"k{i}", rows=400, columns=80, seed=i) for i in range(3)))
    assert not lzr2.verify(path).checksums
    record = lzr2.Index.open(path, checksum=True).records[1]
    assert lzr2.verify(path).checksums
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[record.offset_start] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = lzr2.verify(path)
    damaged = [any(finding.severity == "error" for finding in entry.findings) for entry in report.records]
    assert damaged == [False, True, False]
    assert not report.ok()


def test_progress_ends_with_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.lzr2").write_bytes(b"LZR2" + simple_record("a") + simple_record("b"))
    told: list[tuple[int, int]] = []
    lzr2.verify(tmp_path / "a.lzr2", on_bytes=lambda done, total: told.append((done, total)))
    size = (tmp_path / "a.lzr2").stat().st_size
    assert len(told) == 2
    assert told[-1] == (size, size)


def test_of_a_file_cut_short_the_records_before_the_cut_are_reported(tmp_path: Path) -> None:
    whole = lzr2_bytes(simple_record("a"), simple_record("b", seed=1))
    path = tmp_path / "cut.lzr2"
    path.write_bytes(whole[:-5])
    report = lzr2.verify(path)
    assert [record.key for record in report.records] == ["a"]
    (fault,) = report.file_findings
    assert fault.severity == "error"
    assert fault.key == "b"
    assert not report.ok()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_file_in_memory_may_be_any_kind_of_bytes(kind: type) -> None:
    assert len(lzr2.verify(kind(lzr2_bytes(simple_record("a")))).records) == 1


def test_a_tensor_without_weights_is_compared_as_any_other(tmp_path: Path) -> None:
    empty = np.zeros((0, 4), np.float16)
    lzr2.save_file({"empty": empty}, tmp_path / "a.lzr2")
    report = lzr2.verify(tmp_path / "a.lzr2", {"empty": empty})
    assert report.ok()
    assert [finding.kind for finding in report.findings] == ["no elements"]
    assert report.records[0].comparison is not None
