"""`streamer doctor`."""

from __future__ import annotations

import json

import pytest

from streamer.bench.machine_facts import Facts, Gpu, Package

GB = 10**9
HERE = Facts("Linux 6.1, x86_64", "3.12.1", {"torch": Package("2.8.0", "2.4")}, 8, 32 * GB, 21 * GB)
GTX = Gpu("GeForce GTX 1060", (6, 1), 6 * GB, 5 * GB)


@pytest.fixture
def doctor(streamer, monkeypatch):
    def call(facts: Facts, *arguments: object):
        monkeypatch.setattr("streamer.bench.machine_facts.gather", lambda _: facts)
        return streamer("doctor", *arguments)

    return call


def test_a_machine_that_is_well_ends_with_0(doctor):
    done = doctor(HERE)
    assert done.code == 0, done.err
    assert "--device cpu --vram-budget 10.5GB --ram-budget 5GB" in done.out
    assert done.out.endswith("All is well.\n")
    assert "torch 2.8.0" in done.out


def test_a_fault_ends_with_1_and_says_what_to_do(doctor):
    facts = Facts(**{**vars(HERE), "torch_cuda": "12.8", "torch_architectures": ("sm_75",), "torch_gpus": (GTX,)})
    done = doctor(facts)
    assert done.code == 1
    assert "fault  device: GeForce GTX 1060" in done.out
    assert "CUDA 12.6 build of torch" in done.out
    assert "Something has to be mended" in done.out


def test_json_has_findings_facts_and_budgets_in_one_line(doctor):
    done = doctor(Facts(**{**vars(HERE), "ram_free_nbytes": GB // 2}), "--json")
    assert done.code == 1
    assert len(done.out.splitlines()) == 1
    found = json.loads(done.out)
    assert found["well"] is False
    assert [f["subject"] for f in found["findings"] if f["level"] == "fault"] == ["host memory"]
    assert found["facts"]["packages"]["torch"] == {"installed": "2.8.0", "least": "2.4", "everywhere": True}
    assert found["recommended"]["device"] == "cpu"


def test_it_looks_at_this_machine_and_a_file(streamer, demo_lzr2):
    done = streamer("doctor", "--weights", demo_lzr2)
    assert done.code in (0, 1)
    assert "weights: " in done.out
    assert "host memory: " in done.out
    gone = streamer("doctor", "--weights", "gone.lzr2")
    assert gone.code == 1
    assert "there is no such file" in gone.out
