"""`streamer info`."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import lzr2
from streamer.cli.app import main

TENSORS = {"a.weight": np.ones((3, 4), np.float16), "evil\x1b[31m": np.zeros(5, np.float16)}


@pytest.fixture
def run(monkeypatch, capfd):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamer", "info", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return call


@pytest.fixture(params=["lzr2", "safetensors"])
def file(request, tmp_path):
    path = tmp_path / f"w.{request.param}"
    (lzr2.save_file if request.param == "lzr2" else save_file)(TENSORS, path)
    return path


def test_a_line_of_json_has_every_tensor(run, file):
    code, out, _ = run(str(file), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["weights"] == 17
    assert {tensor["key"]: tensor["shape"] for tensor in found["tensors"]} == {
        key: list(tensor.shape) for key, tensor in TENSORS.items()
    }
    assert found["stored_nbytes"] == sum(tensor["stored_nbytes"] for tensor in found["tensors"])


def test_the_table_has_every_tensor_and_no_control_characters(run, file):
    _, out, _ = run(str(file))
    assert "a.weight" in out
    assert "3 x 4" in out
    assert "evil\\x1b[31m" in out
    assert "\x1b[31m" not in out
    assert "2 tensors, 17 weights" in out


def test_keys_are_never_cut_and_no_two_look_alike(run, tmp_path):
    keys = [f"up_blocks.2.{'attentions.1.' * 9}{i}" for i in range(3)]
    lzr2.save_file(dict.fromkeys(keys, np.ones((1, 2), np.float16)), tmp_path / "w.lzr2")
    _, out, _ = run(str(tmp_path / "w.lzr2"))
    assert [line.split()[0] for line in out.splitlines()[1:4]] == keys


def test_records_without_values_are_shown(run, tmp_path):
    with lzr2.Writer(tmp_path / "w.lzr2") as writer:
        writer.add("a", np.ones((1, 2), np.float16))
        writer.add_without_payload("b", (3, 4))
    _, out, _ = run(str(tmp_path / "w.lzr2"))
    assert "no values" in next(line for line in out.splitlines() if line.startswith("b "))
    assert "1 tensors, 2 weights" in out
    found = json.loads(run(str(tmp_path / "w.lzr2"), "--json")[1])
    assert found["without_values"] == [{"key": "b", "shape": [3, 4]}]
