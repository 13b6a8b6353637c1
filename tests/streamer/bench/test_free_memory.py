"""What is free is the machine's, and no more than a container may have."""

from __future__ import annotations

import psutil
import pytest
import torch

from streamer.bench.free_memory import free_memory, host_free_nbytes


@pytest.fixture
def cgroup(tmp_path):
    def write(most: str) -> None:
        (tmp_path / "memory.max").write_text(f"{most}\n")
        (tmp_path / "memory.current").write_text("700\n")
        (tmp_path / "memory.stat").write_text("anon 400\nfile 300\nfile_mapped 99\n")

    write.folder = tmp_path  # type: ignore[attr-defined]
    return write


def test_a_container_has_its_limit_less_what_it_uses_without_pages_of_files(cgroup):
    cgroup("1000")
    assert host_free_nbytes(cgroup.folder) == 600
    cgroup("100")
    assert host_free_nbytes(cgroup.folder) == 0


@pytest.mark.parametrize("most", ["max", "nonsense", "99999999999999999"])
def test_without_a_limit_it_is_the_machines(cgroup, most):
    cgroup(most)
    assert host_free_nbytes(cgroup.folder) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_without_control_groups_it_is_the_machines(tmp_path):
    assert host_free_nbytes(tmp_path / "none") == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_cpus_device_is_the_host():
    found = free_memory(torch.device("cpu"))
    assert found.device == found.host > 0
