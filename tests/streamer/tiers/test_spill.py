"""Decoded once, then read from a local file: the same values, and nothing lost when the file fails."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import torch

import lzr2
from streamer.errors import SpillError
from streamer.sources.lzr2 import Lzr2Source
from streamer.tiers.spill import SpillTier, is_spillable
from streamer.tiers.spill_file import SpillFile


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {f"t{i}": random.standard_normal((16, 40)).astype(np.float16) for i in range(4)}
    made["ternary"] = random.choice(np.array([-1, 0, 1], np.float16), (16, 40))
    return made


@pytest.fixture
def source(tensors, tmp_path):
    lzr2.save_file(tensors, tmp_path / "w.lzr2")
    source = Lzr2Source(tmp_path / "w.lzr2")
    yield source
    source.close()


def read(source, key: str, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    out = torch.empty((16, 40), dtype=dtype)
    source.read_into(key, out)
    return out


def decodes(source, monkeypatch) -> list[str]:
    """The keys that are decoded from now on."""
    noted: list[str] = []
    real = source.read_into

    def note(key: str, out: torch.Tensor) -> None:
        noted.append(key)
        real(key, out)

    monkeypatch.setattr(source, "read_into", note)
    return noted


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_each_is_decoded_once_now_and_never_the_next_time(source, tensors, tmp_path, monkeypatch, dtype):
    noted = decodes(source, monkeypatch)
    for _ in range(2):
        spill = SpillTier(source, tmp_path / "spill")
        spill.choose([key for key in tensors if key != "t3"])
        for _ in range(2):
            for key, values in tensors.items():
                assert torch.equal(read(spill, key, dtype), torch.from_numpy(values).to(dtype))
        spill.close()
    assert [noted.count(f"t{i}") for i in range(3)] == [1, 1, 1]
    assert (noted.count("t3"), noted.count("ternary")) == (4, 4)  # not chosen, and smaller in its own file


def test_only_what_is_clearly_larger_in_its_file_is_worth_it(source, tensors):
    assert [is_spillable(source.info(key)) for key in tensors] == [True] * 4 + [False]


def test_a_file_that_was_changed_is_decoded_anew(source, tensors, tmp_path, monkeypatch):
    spill = SpillTier(source, tmp_path / "spill")
    spill.choose(tensors)
    read(spill, "t0")
    spill.close()
    changed = {key: -values for key, values in tensors.items()}
    lzr2.save_file(changed, tmp_path / "w.lzr2")
    other = Lzr2Source(tmp_path / "w.lzr2")
    spill = SpillTier(other, tmp_path / "spill")
    spill.choose(tensors)
    assert torch.equal(read(spill, "t0"), torch.from_numpy(changed["t0"]))
    assert len(list((tmp_path / "spill").glob("*.safetensors"))) == 2
    spill.close()
    other.close()


def test_a_folder_that_cannot_be_used_costs_a_warning_and_nothing_else(source, tensors, tmp_path):
    (tmp_path / "file").touch()
    spill = SpillTier(source, tmp_path / "file")
    with pytest.warns(RuntimeWarning, match="decoded again at each step"):
        spill.choose(tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spill.choose(tensors)
        assert torch.equal(read(spill, "t0"), torch.from_numpy(tensors["t0"]))
    assert spill.path is None


@pytest.mark.parametrize("fails_at", range(4))
def test_the_kth_write_fails(source, tensors, tmp_path, monkeypatch, fails_at):
    real, calls = SpillFile.write, []

    def write(self: SpillFile, key: str, values: np.ndarray) -> None:
        calls.append(key)
        if len(calls) == fails_at + 1:
            raise SpillError("spill", "the disk is full")
        real(self, key, values)

    monkeypatch.setattr(SpillFile, "write", write)
    spill = SpillTier(source, tmp_path / "spill")
    spill.choose(tensors)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [(read(spill, key), values) for _ in range(2) for key, values in tensors.items()]
    assert all(torch.equal(out, torch.from_numpy(values)) for out, values in found)
    assert [str(warning.message) for warning in told] == [
        "spill: the disk is full. Weights are decoded again at each step."
    ]
    assert len(calls) == fails_at + 1  # from then on the file is left alone
    spill.close()


@pytest.mark.parametrize("fails_at", range(1, 5))
def test_the_kth_read_fails(source, tensors, tmp_path, monkeypatch, fails_at):
    real, calls = os.preadv, []

    def preadv(fd: int, buffers: list, offset: int) -> int:
        calls.append(offset)
        if len(calls) == fails_at:
            raise OSError("broken")
        return real(fd, buffers, offset)

    spill = SpillTier(source, tmp_path / "spill")
    spill.choose(tensors)
    for key in tensors:
        read(spill, key)
    monkeypatch.setattr(os, "preadv", preadv)
    for _ in range(3):
        for key, values in tensors.items():
            assert torch.equal(read(spill, key), torch.from_numpy(values))
    assert len(calls) > fails_at
    spill.close()


def test_reads_are_told_of_and_hints_reach_whom_they_concern(source, tensors, tmp_path, monkeypatch):
    spill = SpillTier(source, tmp_path / "spill")
    spill.choose(tensors)
    hints: list[tuple[str, str]] = []
    monkeypatch.setattr(source, "will_need", lambda key: hints.append(("will", key)))
    monkeypatch.setattr(source, "wont_need", lambda key: hints.append(("won't", key)))
    spill.will_need("t0")
    read(spill, "t0")
    assert hints == [("will", "t0"), ("won't", "t0")]  # its own file's bytes aren't needed again
    seen: list[int] = []
    spill.observe_reads(lambda start, end, nbytes: seen.append(nbytes))
    read(spill, "t0")
    assert seen == [2 * 16 * 40]
    spill.will_need("t0")
    spill.wont_need("t0")
    assert len(hints) == 2
    spill.close()


def test_the_rest_is_the_sources(source, tmp_path):
    spill = SpillTier(source, tmp_path / "spill")
    assert (spill.name, spill.label, set(spill.keys())) == (source.name, source.label, set(source.keys()))
    assert spill.mentioned() == source.mentioned()
    assert spill.info("t0") == source.info("t0")
    out = torch.empty(16, 40, dtype=torch.float16)
    spill.hold("t0").write_into(out)
    assert torch.equal(out, read(source, "t0"))


def test_whatever_the_default_device_is_it_decodes_in_host_memory(source, tensors, tmp_path):
    spill = SpillTier(source, tmp_path / "spill")
    spill.choose(tensors)
    for _ in range(2):
        out = torch.empty((16, 40), dtype=torch.bfloat16)
        with torch.device("meta"):
            spill.read_into("t0", out)
        assert torch.equal(out, torch.from_numpy(tensors["t0"]).bfloat16())
    spill.close()
