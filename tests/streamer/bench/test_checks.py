"""Checks of machines that were made up: what is a fault, and that its hint says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.checks import Budgets, Level, build_for, findings, is_well, recommended, runs_on
from streamer.bench.machine_facts import Facts, Gpu, Package, PinnedTrial, Weights
from streamer.bench.storage_kind import Storage, StorageKind

GB = 10**9
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU128 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
GTX_1060 = Gpu("NVIDIA GeForce GTX 1060 6GB", (6, 1), 6 * GB, 5 * GB)
RTX_3060 = Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12 * GB, 11 * GB)

CPU = Facts(
    system="Linux 6.1, x86_64",
    python="3.12.1",
    packages={"torch": Package("2.8.0+cpu", "2.4")},
    processors=8,
    ram_total_nbytes=32 * GB,
    ram_free_nbytes=21 * GB,
)


def with_gpu(gpu: Gpu, architectures: tuple[str, ...], cuda: str = "12.8") -> Facts:
    return replace(
        CPU,
        torch_cuda=cuda,
        torch_architectures=architectures,
        torch_gpus=(gpu,),
        driver_gpus=(gpu,),
        driver="580.1",
        pinned=PinnedTrial(256 << 20, 0.05),
    )


def of(facts: Facts, subject: str) -> list[tuple[Level, str]]:
    return [(f.level, f"{f.text} {f.hint or ''}") for f in findings(facts) if f.subject == subject]


def test_a_machine_without_a_gpu_is_well():
    found = findings(CPU)
    assert is_well(found)
    assert {f.level for f in found} == {Level.OK}
    assert recommended(CPU) == Budgets("cpu", 21 * GB // 2, 5 * GB)


def test_a_gtx_10xx_needs_the_cuda_12_6_build_and_is_told():
    facts = with_gpu(GTX_1060, CU128)
    ((level, text),) = of(facts, "device")
    assert level is Level.FAULT
    assert "compute capability 6.1" in text
    assert "sm_75" in text
    assert "GTX 10xx" in text
    assert "CUDA 12.6 build" in text
    assert 'install --force-reinstall "torch<2.15" --index-url https://download.pytorch.org/whl/cu126' in text
    assert not is_well(findings(facts))
    assert recommended(facts).device == "cpu"


def test_with_that_build_it_is_well_and_gets_nearly_all_its_memory():
    facts = with_gpu(GTX_1060, CU126, "12.6")
    assert is_well(findings(facts))
    assert recommended(facts) == Budgets("cuda:0", int(0.95 * 5 * GB), 10 * GB)


def test_a_torch_for_the_cpu_beside_a_gpu_is_a_fault_whose_hint_is_the_right_build():
    for gpu, build in ((GTX_1060, "cu126"), (RTX_3060, "cu126"), (Gpu("RTX 5090", (12, 0)), "cu128")):
        ((level, text),) = of(replace(CPU, driver_gpus=(gpu,), driver="580.1"), "device")
        assert level is Level.FAULT
        assert "CPU only" in text
        assert build in text


def test_a_gpu_that_torch_does_not_reach_is_a_fault_of_the_driver():
    ((level, text),) = of(replace(CPU, torch_cuda="12.8", driver_gpus=(RTX_3060,), driver="470.1"), "device")
    assert level is Level.FAULT
    assert "470.1" in text
    assert "newer driver" in text


def test_a_blackwell_needs_a_newer_build():
    ((level, text),) = of(with_gpu(Gpu("RTX 5090", (12, 0), 32 * GB, 31 * GB), CU126, "12.6"), "device")
    assert level is Level.FAULT
    assert "CUDA 12.8 build" in text


def test_what_no_build_has_code_for_computes_on_the_cpu():
    old = Gpu("Quadro K2000", (3, 0), 2 * GB, 2 * GB)
    for facts in (with_gpu(old, CU126), replace(CPU, torch_cuda="12.6", driver_gpus=(old,), driver="470")):
        ((level, text),) = of(facts, "device")
        assert level is Level.FAULT
        assert "--device cpu" in text
    ((_, text),) = of(replace(CPU, driver_gpus=(old,), driver="470"), "device")
    assert "--device cpu" in text


def test_a_gpu_that_cannot_compute_is_a_fault_with_what_it_said():
    ((level, text),) = of(with_gpu(replace(RTX_3060, fault="CUDA error: busy"), CU126), "device")
    assert level is Level.FAULT
    assert "CUDA error: busy" in text


def test_a_gpu_that_does_not_tell_what_it_is_is_a_fault_with_what_it_said():
    ((level, text),) = of(with_gpu(Gpu("device 0", (0, 0), fault="unknown error"), CU126), "device")
    assert level is Level.FAULT
    assert "unknown error" in text
    assert "older than" not in text


def test_a_driver_that_is_broken_is_no_missing_gpu():
    ((level, text),) = of(replace(CPU, driver_fault="Driver/library version mismatch"), "device")
    assert level is Level.ADVICE  # it may be a machine that never had one
    assert "version mismatch" in text


def test_a_rocm_torch_is_judged_by_its_trial():
    radeon = Gpu("Radeon RX 6800", (10, 3), 16 * GB, 15 * GB)
    facts = replace(with_gpu(radeon, ("gfx1030",)), torch_cuda=None, torch_hip="6.4", driver_gpus=())
    ((level, text),) = of(facts, "device")
    assert level is Level.OK
    assert "ROCm 6.4" in text
    assert recommended(facts).device == "cuda:0"
    ((level, _),) = of(replace(facts, torch_gpus=(replace(radeon, fault="no"),)), "device")
    assert level is Level.FAULT


def test_a_gpu_with_too_little_memory_is_not_recommended():
    assert recommended(with_gpu(replace(RTX_3060, free_nbytes=GB // 5), CU126)).device == "cpu"


def test_beside_a_gpu_with_room_a_full_one_is_no_fault_unless_it_is_the_first():
    full = replace(RTX_3060, free_nbytes=GB // 2)
    facts = with_gpu(RTX_3060, CU126)
    assert [level for level, _ in of(replace(facts, torch_gpus=(RTX_3060, full)), "device memory")] == [
        Level.OK,
        Level.ADVICE,
    ]
    first = replace(facts, torch_gpus=(full, RTX_3060))
    assert [level for level, _ in of(first, "device memory")] == [Level.FAULT, Level.OK]
    assert "--device cuda:1" in of(first, "device memory")[0][1]
    assert recommended(first).device == "cuda:1"
    for three in ((GTX_1060, full, RTX_3060), (full, GTX_1060, RTX_3060)):  # one can't be used, one is full
        told = replace(with_gpu(RTX_3060, CU128), torch_gpus=three, driver_gpus=three)
        faults = [found for found in findings(told) if found.level is Level.FAULT]
        assert [one.hint.partition(",")[0] for one in faults] == ["Give --device cuda:2"]
    both = replace(facts, torch_gpus=(full, full))
    assert [level for level, _ in of(both, "device memory")] == [Level.FAULT, Level.FAULT]
    assert all("--device cpu" in text for _, text in of(both, "device memory"))


def test_beside_a_gpu_that_works_one_that_does_not_is_no_fault():
    facts = with_gpu(RTX_3060, CU128)
    facts = replace(facts, torch_gpus=(RTX_3060, GTX_1060), driver_gpus=(RTX_3060, GTX_1060))
    assert is_well(findings(facts))
    ((level, text),) = [one for one in of(facts, "device") if "GTX 1060" in one[1]]
    assert level is Level.ADVICE
    assert text.endswith("cuda:0 works, and is what is used.")
    assert not is_well(findings(replace(facts, torch_gpus=(GTX_1060, GTX_1060))))


def test_where_the_one_that_is_used_if_nobody_says_does_not_work_the_other_is_named():
    facts = replace(with_gpu(RTX_3060, CU128), torch_gpus=(GTX_1060, RTX_3060), driver_gpus=(GTX_1060, RTX_3060))
    ((level, text),) = [one for one in of(facts, "device") if "GTX 1060" in one[1]]
    assert level is Level.FAULT
    assert "--device cuda:1" in text
    assert "pip install" not in text
    assert recommended(facts).device == "cuda:1"


@pytest.mark.parametrize(("free", "level"), [(11 * GB, Level.OK), (4 * GB, Level.ADVICE), (GB // 2, Level.FAULT)])
def test_free_device_memory(free, level):
    ((found, _),) = of(with_gpu(replace(RTX_3060, free_nbytes=free), CU126), "device memory")
    assert found is level


def test_of_several_gpus_the_first_that_works_is_recommended():
    facts = replace(with_gpu(GTX_1060, CU128), torch_gpus=(GTX_1060, RTX_3060))
    assert recommended(facts).device == "cuda:1"
    assert not is_well(findings(facts))


@pytest.mark.parametrize(("free", "level"), [(20 * GB, Level.OK), (3 * GB, Level.ADVICE), (GB // 2, Level.FAULT)])
def test_free_host_memory(free, level):
    facts = replace(CPU, ram_free_nbytes=free)
    ((found, _),) = of(facts, "host memory")
    assert found is level
    assert recommended(facts).ram_nbytes == max(0, free - GB) // 4


def test_refused_page_locked_memory_is_advice():
    facts = replace(with_gpu(RTX_3060, CU126), pinned=PinnedTrial(256 << 20, 0.0, "out of memory"))
    ((level, text),) = of(facts, "page-locked memory")
    assert level is Level.ADVICE
    assert "ulimit -l" in text
    assert is_well(findings(facts))
    assert of(CPU, "page-locked memory") == []


def test_one_processor_is_advice():
    assert of(replace(CPU, processors=1), "processors")[0][0] is Level.ADVICE


@pytest.mark.parametrize(
    ("package", "level"),
    [
        (Package("2.4.0", "2.4"), Level.OK),
        (Package("2.10.1+cu126", "2.4"), Level.OK),
        (Package("2.3.9", "2.4"), Level.FAULT),
        (Package("2.4rc1", "2.4"), Level.OK),
        (Package(None, "2.4"), Level.FAULT),
        (Package(None, "2.4", everywhere=False), Level.OK),
        (Package("0", None), Level.OK),
    ],
)
def test_packages_are_there_and_new_enough(package, level):
    ((found, text),) = of(replace(CPU, packages={"thing": package}), "packages")
    assert found is level
    assert ("pip install" in text) is (level is Level.FAULT)


def test_weights_are_looked_at_if_there_are_any():
    assert of(CPU, "weights") == []
    for kind, level in (
        (StorageKind.NVME, Level.OK),
        (StorageKind.SPINNING, Level.ADVICE),
        (StorageKind.USB, Level.ADVICE),
    ):
        facts = replace(CPU, weights=Weights("w.lzr2", 8 * GB, Storage(kind, "ext4", "sda")))
        ((found, text),) = of(facts, "weights")
        assert found is level
        assert f"8 GB on {kind.value} (sda, ext4)" in text
    broken = replace(CPU, weights=Weights("w.lzr2", 8, Storage(StorageKind.NVME), "w.lzr2: not LZR2\x1b[2J"))
    ((found, text),) = of(broken, "weights")
    assert found is Level.FAULT
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (CU126, (6, 1), True),  # machine code of the same major
        (CU126, (8, 9), True),
        (CU128, (6, 1), False),
        (("sm_86",), (8, 0), False),
        (("compute_70",), (8, 6), True),
        (("compute_90",), (8, 6), False),
        (("sm_90a",), (9, 0), True),
        (("sm_90a",), (9, 1), False),
        (("gfx90a", ""), (9, 0), False),
        ((), (9, 0), False),
    ],
)
def test_what_runs_on_what(architectures, capability, runs):
    assert runs_on(architectures, capability) is runs


@given(st.tuples(st.integers(1, 15), st.integers(0, 9)))
def test_every_device_has_a_build_or_is_too_old(capability):
    assert (build_for(capability) is None) is (capability < (5, 0))
