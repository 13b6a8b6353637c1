"""`streamer verify`."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import lzr2
from tests.lzr2.reference import GOLDEN


@pytest.fixture
def file(tmp_path):
    random = np.random.default_rng(0)
    tensors = {f"t{i}": random.standard_normal((8, 32)).astype(np.float16) for i in range(3)}
    lzr2.save_file(tensors, tmp_path / "w.lzr2")
    lzr2.save_file(tensors | {"t1": tensors["t1"] + np.float16(1)}, tmp_path / "other.lzr2")
    return tmp_path / "w.lzr2"


def test_a_sound_file(streamer, file):
    done = streamer("verify", file)
    assert done.code == 0
    assert done.out == f"{file}: 3 records, 768 weights, 0 errors, 0 findings, no checksums to compare\n"


def test_differences_are_shown_tensor_by_tensor(streamer, file):
    done = streamer("verify", file, "--against", "other.lzr2")
    assert done.code == 0
    assert "2 tensors are exact, 1 differ" in done.out
    assert [line.split()[0] for line in done.out.splitlines() if " dB" in line] == ["t1"]


def test_what_the_other_weights_do_not_have_is_counted(streamer, file):
    lzr2.save_file({"t0": lzr2.load_file(file)["t0"]}, "part.lzr2")
    done = streamer("verify", file, "--against", "part.lzr2")
    assert "1 tensors are exact, 0 differ, 2 have nothing to compare with" in done.out


def test_for_a_machine(streamer, file):
    report = json.loads(streamer("verify", file, "--against", "other.lzr2", "--json").out)
    assert report["ok"]
    assert [entry["comparison"]["exact"] for entry in report["records"]] == [True, False, True]
    assert report["records"][0]["comparison"]["snr_db"] == "Infinity"  # nothing differs; JSON has no number for it
    assert report["records"][1]["comparison"]["snr_db"] < 30


def test_findings_are_errors_only_if_strict(streamer):
    odd = GOLDEN / "duplicates_last_wins.lzr2"
    lenient, strict = streamer("verify", odd), streamer("verify", odd, "--strict")
    assert (lenient.code, strict.code) == (0, 1)
    assert "replaced by later ones" in lenient.out


@pytest.mark.parametrize("place", ["middle", "tail"])
def test_a_changed_bit_is_noticed_with_checksums_and_only_with_them(streamer, file, place):
    lzr2.save_file({f"t{i}": np.random.default_rng(i).random((40, 64)).astype(np.float16) for i in range(3)}, file)
    status = file.stat()
    assert streamer("index", file, "--checksum").code == 0
    record = lzr2.Index.build(file).records[1 if place == "middle" else 2]
    content = bytearray(file.read_bytes())
    content[record.end - 5] ^= 4
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk would
    done = streamer("verify", file)
    assert done.code == 1
    assert "checksum" in done.out
    assert streamer("index", file, "--checksum").code == 0  # the change was meant after all
    done = streamer("verify", file)
    assert done.code == 0
    assert "checksums compared" in done.out


def test_many_findings_are_summed_up(streamer, tmp_path):
    lzr2.write_records("many.lzr2", ((f"k\x01{i}", np.ones((1, 2), np.float16)) for i in range(30)))
    done = streamer("verify", "many.lzr2")
    assert "... and 10 more" in done.out
    assert "30  finding: odd key" in done.out
    assert "\x01" not in done.out


def test_what_is_no_lzr2_file_is_an_error_and_what_is_no_file_too(streamer, tmp_path):
    (tmp_path / "x").write_text("<html>")
    page = streamer("verify", "x")
    assert page.code == 1
    assert "HTML" in page.out
    assert streamer("verify", "gone").code == 2


def test_strict_against_other_weights_is_exact_or_fails(streamer, file):
    assert streamer("verify", file, "--against", file, "--strict").code == 0
    done = streamer("verify", file, "--against", "other.lzr2", "--strict")
    assert done.code == 1
    assert "2 tensors are exact, 1 differ" in done.out
    assert "0 errors, 1 findings" in done.out


@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_nothing_in_common_is_an_error(streamer, file, options):
    lzr2.save_file({"else": np.ones((2, 2), np.float16)}, "else.lzr2")
    done = streamer("verify", file, "--against", "else.lzr2", *options)
    assert done.code == 1
    assert "nothing was compared" in done.out


def test_numbers_that_are_not_finite_are_texts_for_a_machine(streamer, file):
    lzr2.save_file({key: tensor * np.float16(0) for key, tensor in lzr2.load_file(file).items()}, "zero.lzr2")
    done = streamer("verify", file, "--against", "zero.lzr2", "--json")
    assert {entry["comparison"]["snr_db"] for entry in json.loads(done.out)["records"]} == {"-Infinity"}
