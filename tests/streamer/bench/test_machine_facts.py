"""Facts of this machine, and of what a driver would say."""

from __future__ import annotations

import errno
import subprocess
from types import SimpleNamespace

import psutil
import pytest
import torch

from streamer.bench.machine_facts import Gpu, Package, _weights, gather, needed_packages, parse_driver_list

SAID = """560.35, NVIDIA GeForce GTX 1060 6GB, 6.1, 6144, 5900
560.35, Strange, [N/A], 1, 1
560.35, NVIDIA RTX A2000, 8.6, 12282, [N/A]

"""


def test_the_drivers_list_is_read_line_by_line():
    assert parse_driver_list(SAID) == (
        "560.35",
        (
            Gpu("NVIDIA GeForce GTX 1060 6GB", (6, 1), 6144 << 20, 5900 << 20),
            Gpu("NVIDIA RTX A2000", (8, 6), 12282 << 20, None),
        ),
    )
    assert parse_driver_list("No devices were found") == (None, ())


def test_packages_are_those_without_an_extra():
    found = needed_packages(
        ["numpy>=1.26", "rich (>=13.7)", "no-such-package>=3", "peft>=0.13; extra == 'lora'", "zlib-ng>=0.5; x == 'y'"]
    )
    assert list(found) == ["numpy", "rich", "no-such-package", "zlib-ng"]
    assert found["numpy"].least == "1.26"
    assert found["rich"].least == "13.7"
    assert found["numpy"].installed
    assert found["no-such-package"] == Package(None, "3")
    assert not found["zlib-ng"].everywhere


def test_without_metadata_the_indispensable_ones_are_looked_at():
    assert needed_packages([])["torch"].installed


def test_this_machine_without_its_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def no_driver(*_: object, **__: object) -> None:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", no_driver)
    facts = gather()
    assert (facts.torch_gpus, facts.driver_gpus, facts.driver, facts.pinned) == ((), (), None, None)
    assert facts.processors >= 1
    assert facts.ram_total_nbytes == psutil.virtual_memory().total
    assert 0 < facts.ram_free_nbytes <= facts.ram_total_nbytes
    assert facts.weights is None
    assert facts.packages["torch"].installed


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ('Field "compute_cap" is not a valid field to query.\n', 'Field "compute_cap" is not a valid field to query.'),
        ("\nFailed to initialize NVML: Driver/library version mismatch\n", "Failed to initialize NVML: "),
        ("", "exit code 2"),
        ("No devices were found\n", None),
    ],
)
def test_a_driver_whose_program_fails_is_told_with_what_it_said(monkeypatch, output, fault):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def broken(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(2, "nvidia-smi", output, "")

    monkeypatch.setattr(subprocess, "run", broken)
    told = gather().driver_fault
    assert told is None if fault is None else told is not None and told.startswith(fault)


def test_a_gpu_that_does_not_even_tell_its_name_is_a_gpu_with_a_fault(cuda, monkeypatch):
    def refuse(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("torch.cuda.get_device_name", refuse)
    (gpu,) = gather().torch_gpus
    assert gpu.fault == "RuntimeError"


@pytest.fixture
def cuda(monkeypatch):
    """A device of which only the questions are answered."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "GTX 1060")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (6, 1))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (5, 6))
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: ["sm_75"])
    said = SimpleNamespace(stdout=SAID)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)


def test_a_gpu_that_computes_nothing_is_told_with_what_it_raised(cuda, monkeypatch):
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available\nsecond line")

    monkeypatch.setattr("torch.ones", refuse)
    monkeypatch.setattr("torch.empty", refuse)
    facts = gather()
    assert facts.torch_gpus == (Gpu("GTX 1060", (6, 1), 6, 5, "CUDA error: no kernel image is available"),)
    assert facts.torch_architectures == ("sm_75",)
    assert facts.driver == "560.35"
    assert facts.pinned is not None
    assert facts.pinned.fault == "CUDA error: no kernel image is available"


def test_page_locked_memory_is_tried(cuda, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("torch.ones", lambda *_, **__: torch.tensor([8.0]))
    monkeypatch.setattr("torch.empty", lambda nbytes, **_: asked.append(nbytes))
    facts = gather()
    assert facts.torch_gpus[0].fault is None
    assert facts.pinned is not None
    assert (facts.pinned.fault, [facts.pinned.nbytes]) == (None, asked)


def test_weights_are_opened(demo_lzr2, tmp_path):
    good = gather(demo_lzr2).weights
    assert good is not None
    assert (good.fault, good.nbytes) == (None, demo_lzr2.stat().st_size)
    (tmp_path / "bad.lzr2").write_bytes(b"LZR2" + b"\xff" * 20)
    bad = gather(tmp_path / "bad.lzr2").weights
    assert bad is not None
    assert bad.fault
    gone = gather(tmp_path / "far" / "gone.lzr2").weights
    assert gone is not None
    assert "no such file" in str(gone.fault)
    assert gone.storage == good.storage or gone.storage.filesystem


def test_weights_in_a_folder_that_may_not_be_entered_are_a_fault(tmp_path):
    class Locked(type(tmp_path)):  # type: ignore[misc]
        def exists(self, **_: object) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

    found = _weights(Locked(tmp_path / "weights.lzr2"))
    assert "Permission denied" in str(found.fault)
    assert found.nbytes == 0
