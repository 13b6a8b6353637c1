"""`streamer doctor`."""

from __future__ import annotations

import json

import pytest

from streamer.bench.machine_facts import Facts, Gpu, Package
from streamer.config import parse_size

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


def test_budgets_are_rounded_down_to_what_can_be_typed(doctor):
    done = doctor(Facts(**{**vars(HERE), "ram_total_nbytes": 3000 * GB, "ram_free_nbytes": 2099 * GB + 12_345_678}))
    (_, given) = done.out.split("--vram-budget ")
    vram = given.split()[0]
    assert vram == "1049.5GB"
    assert parse_size(vram) <= (2099 * GB + 12_345_678) // 2


@pytest.mark.parametrize("json_line", [False, True])
def test_libraries_that_cannot_be_loaded_are_a_fault_and_no_traceback(streamer, monkeypatch, json_line):
    def broken(*, bars: bool) -> None:
        raise OSError("libtorch_cpu.so: cannot open shared object file")

    monkeypatch.setattr("streamer.cli.doctor.load_libraries", broken)
    done = streamer("doctor", *(["--json"] if json_line else []))
    assert done.code == 1
    assert "libtorch_cpu.so" in done.out
    assert "pip install" in done.out
    assert "Traceback" not in done.err
    if json_line:
        assert json.loads(done.out)["well"] is False


def test_it_looks_at_this_machine_and_a_file(streamer, demo_lzr2):
    done = streamer("doctor", "--weights", demo_lzr2)
    assert done.code in (0, 1)
    assert "weights: " in done.out
    assert "host memory: " in done.out
    gone = streamer("doctor", "--weights", "gone.lzr2")
    assert gone.code == 1
    assert "there is no such file" in gone.out
