"""What is said of the machine."""

from __future__ import annotations

import json

import torch

from benchmarks.compare.machine import PACKAGES, machine


def test_it_is_json_and_says_what_decides(tmp_path):
    found = machine(tmp_path, "cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["device"] == "the processor"
    assert found["versions"].keys() == set(PACKAGES)
    assert found["versions"]["torch"] == torch.__version__
