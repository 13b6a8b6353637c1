"""`streamer index`."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import lzr2
from streamer.cli.app import main


@pytest.fixture
def run(monkeypatch, capfd):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamer", "index", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.lzr2"
    random = np.random.default_rng(0)
    lzr2.save_file({f"t{i}": random.standard_normal((8, 32)).astype(np.float16) for i in range(5)}, path)
    return path


def test_the_sidecar_is_built_then_used_then_rebuilt(run, file):
    first, second = (json.loads(run(str(file), "--json")[1]) for _ in range(2))
    assert (first["records"], first["weights"]) == (5, 5 * 256)
    assert sum(first["section_nbytes"].values()) == first["file_nbytes"] == file.stat().st_size
    assert [first["from_sidecar"], second["from_sidecar"]] == [False, True]
    assert first["index"] == str(file) + ".index.json"
    assert 0 < first["read_nbytes"] < file.stat().st_size
    lzr2.save_file({"t": np.ones((2, 2), np.float16)}, file)
    third = json.loads(run(str(file), "--json")[1])
    assert (third["from_sidecar"], third["records"]) == (False, 1)


def test_for_a_person_it_says_what_was_found_and_what_it_took(run, file):
    code, out, _ = run(str(file))
    assert code == 0
    for words in ("5 records", "1,280 weights", "overlay", "indices", "built and saved to", " read"):
        assert words in out
    assert "taken from" in run(str(file))[1]


def test_what_is_no_lzr2_file_is_told(run, tmp_path):
    (tmp_path / "page.lzr2").write_text("<html>")
    code, _, err = run(str(tmp_path / "page.lzr2"))
    assert code == 2
    assert "HTML" in err
