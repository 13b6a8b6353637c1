"""Encoding on several threads: the same file as on one; a fault ends it all and leaves nothing."""

from __future__ import annotations

import threading

import pytest
import torch

from lzr2.errors import EncodeError
from streamer.convert.encode import encode
from tests.streamer.tower import MemorySource


def source(**changes: torch.Tensor) -> MemorySource:
    random = torch.Generator().manual_seed(0)
    return MemorySource({f"t{i}": torch.randn(8, 40, generator=random) for i in range(12)} | changes)


@pytest.mark.parametrize("target", [{}, {"overlay_fraction": 0.1}, {"max_error": 0.1}, {"nbytes": 20_000}])
def test_the_file_doesnt_depend_on_the_threads(tmp_path, target):
    files = []
    for jobs in (1, 2, 5):
        done = encode(source(), tmp_path / "w.lzr2", jobs=jobs, **target)
        assert (done.tensors, done.weights, done.infinite) == (12, 12 * 320, 0)
        files.append((tmp_path / "w.lzr2").read_bytes())
    assert len(set(files)) == 1


def test_progress_adds_up(tmp_path):
    told: list[int] = []
    encode(source(), tmp_path / "w.lzr2", jobs=2, on_bytes=told.append)
    assert told == [640] * 12


@pytest.mark.parametrize("nbytes", [6_000, 12_000, 33_000, 100_000])
def test_under_a_size_progress_advances_in_every_pass(tmp_path, nbytes):
    told: list[int] = []
    encode(source(), tmp_path / "w.lzr2", nbytes=nbytes, jobs=2, on_bytes=told.append)
    assert told == [80] * 12 + [320] * 12 + [240] * 12


def test_no_more_than_the_jobs_are_worked_on_ahead(tmp_path):
    weights = source()
    ahead: list[int] = []

    def look(nbytes: int) -> None:
        ahead.append(len(weights.reads) - len(ahead))

    encode(weights, tmp_path / "w.lzr2", jobs=2, on_bytes=look)
    assert max(ahead) <= 1 + 2


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_fault_is_raised_with_its_key_and_leaves_neither_file_nor_thread(tmp_path, jobs):
    with pytest.raises(EncodeError, match="'t5'"):
        encode(source(t5=torch.tensor(1.0)), tmp_path / "w.lzr2", jobs=jobs)
    damaged = source()
    damaged.fails["t7"] = OSError(5, "the disk went away")
    with pytest.raises(OSError, match="the disk went away"):
        encode(damaged, tmp_path / "w.lzr2", jobs=jobs)
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streamer-encode")]
