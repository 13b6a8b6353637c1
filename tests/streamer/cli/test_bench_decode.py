"""`streamer bench decode`."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lzr2
from streamer.bench import decode_speed

FAST = ("--threads", "2", "--rounds", "1", "--size", "2MB")


@pytest.fixture
def decode(streamer):
    return lambda *arguments: streamer("bench", "decode", *arguments)


def test_a_row_for_each_form_and_number_of_threads(decode, demo_lzr2):
    done = decode(demo_lzr2, *FAST)
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if " GB/s" in line or " MB/s" in line]
    assert [sum(row.startswith(form) for row in rows) for form in decode_speed.FORMS] == [2, 2, 2, 2]
    assert "bit for bit" in done.out
    assert "Verifying" in done.err


def test_json_has_everything_in_one_line(decode, demo_lzr2):
    done = decode(demo_lzr2, *FAST, "--json")
    assert len(done.out.splitlines()) == 1
    found = json.loads(done.out)
    assert [(one["form"], one["threads"]) for one in found["speeds"]] == [
        (form, n) for form in decode_speed.FORMS for n in (1, 2)
    ]
    for one in found["speeds"]:
        assert one["output_rate"] * one["seconds"][0] == pytest.approx(2 * found["weights"])
        of_file = one["form"] != decode_speed.EXPAND  # which reads nothing of the file
        assert (one["stored_rate"] is not None) == of_file
        if of_file:
            assert one["stored_rate"] * one["seconds"][0] == pytest.approx(found["stored_nbytes"])
        # Plain numpy does all of it: with half of the work nothing is as fast as that.
        assert (one["to_plain_numpy"] is not None) == (one["form"] in ("file to float16", "file to float32"))
    assert 0 < found["decoded_records"] < found["records"]


def test_a_decoder_that_is_wrong_is_not_timed(decode, demo_lzr2, monkeypatch):
    monkeypatch.setattr(decode_speed, "plain_decode", lambda data, record: np.ones(record.shape, np.float16))
    done = decode(demo_lzr2, *FAST)
    assert done.code == 2
    assert "plain arithmetic" in done.err
    assert done.out == ""


@pytest.mark.parametrize("name", ["gone.lzr2", ".", "empty.lzr2", "text.lzr2", "silent.lzr2"])
def test_nonsense_is_refused_in_words(decode, tmp_path, name):
    (tmp_path / "empty.lzr2").touch()
    (tmp_path / "text.lzr2").write_text("no weights at all")
    lzr2.save_file({}, tmp_path / "silent.lzr2")
    done = decode(name)
    assert done.code == 2
    assert "Error: " in done.err
    assert "Traceback" not in done.err
