"""Differences from a reference as findings."""

from __future__ import annotations

import numpy as np

import lzr2
from streamer.convert.compared import with_differences

ONES = np.ones((2, 4), np.float16)


def judged(tmp_path, tensors, reference):
    with lzr2.Writer(tmp_path / "w.lzr2") as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor)
        writer.add_without_payload("kept", (3,))
    report = lzr2.verify(tmp_path / "w.lzr2", reference)
    return with_differences(report, reference)


def kinds(report) -> list[tuple[str, str, str | None]]:
    return [(f.severity, f.kind, f.key) for f in report.findings if f.kind != "no payload"]


def test_what_is_exact_adds_nothing(tmp_path):
    report = judged(tmp_path, {"a": ONES}, {"a": ONES})
    assert kinds(report) == []
    assert report.ok()


def test_a_difference_and_a_tensor_that_is_alone_are_findings(tmp_path):
    report = judged(tmp_path, {"a": ONES, "b": ONES, "c": ONES}, {"a": ONES, "b": ONES + 1})
    assert kinds(report) == [("finding", "differs", "b"), ("finding", "not in the reference", "c")]
    assert "8 of 8 weights differ, by at most 1" in report.findings[0].text
    assert report.ok()
    assert not report.ok(strict=True)


def test_nothing_to_compare_is_an_error(tmp_path):
    report = judged(tmp_path, {"a": ONES}, {"b": ONES})
    assert ("error", "nothing compared", None) in kinds(report)
    assert not report.ok()


def test_a_file_that_cannot_be_read_at_all_says_only_that(tmp_path):
    report = with_differences(lzr2.verify(b"<html>", {"a": ONES}), {"a": ONES})
    assert [f.severity for f in report.findings] == ["error"]
    assert report.findings[0].kind == "NotLzr2Error"
