"""The contract of every source, held by each: the same tensors by key, whatever the file."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import lzr2
from streamer.sources.base import WeightSource
from streamer.sources.layered import LayeredSource
from streamer.sources.lzr2 import Lzr2Source
from streamer.sources.safetensors import SafetensorsSource
from streamer.tiers.host_cache import HostCache

RANDOM = np.random.default_rng(0)
TENSORS = {
    "a.weight": RANDOM.standard_normal((8, 3, 3, 3)).astype(np.float16),
    "b.bias": RANDOM.standard_normal(40).astype(np.float16),
    "c.weight": RANDOM.standard_normal((5, 7)).astype(np.float16),
}


def keeping(below: WeightSource) -> HostCache:
    cache = HostCache(below, 1 << 20)
    cache.keep(TENSORS)
    return cache


@pytest.fixture(params=["lzr2", "safetensors", "layered", "cached"])
def source(request, tmp_path) -> WeightSource:
    lzr2.save_file(TENSORS, tmp_path / "w.lzr2")
    save_file(TENSORS, tmp_path / "w.safetensors")
    lzr2.save_file({"b.bias": TENSORS["b.bias"]}, tmp_path / "part.lzr2")
    dense = SafetensorsSource([tmp_path / "w.safetensors"])
    source: WeightSource = {
        "lzr2": lambda: Lzr2Source(tmp_path / "w.lzr2"),
        "safetensors": lambda: dense,
        "layered": lambda: LayeredSource([Lzr2Source(tmp_path / "part.lzr2"), dense]),
        "cached": lambda: keeping(dense),
    }[request.param]()
    yield source
    source.close()
    dense.close()


def test_keys_and_shapes(source):
    assert set(source.keys()) == set(TENSORS)
    for key, tensor in TENSORS.items():
        assert source.info(key).shape == tensor.shape
        assert source.info(key).stored_nbytes > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_values_are_cast_as_torch_casts(source, dtype):
    for key, tensor in TENSORS.items():
        want = torch.from_numpy(tensor).to(dtype)
        for write in (lambda out, key=key: source.read_into(key, out), source.hold(key).write_into):
            out = torch.full(tensor.shape, 7.0, dtype=dtype)
            write(out)
            assert torch.equal(out, want)


def test_an_unknown_key_is_a_key_error(source):
    with pytest.raises(KeyError):
        source.info("nothing")
    with pytest.raises(KeyError):
        source.read_into("nothing", torch.empty(1))


def test_several_threads_may_read_at_once(source):
    wrong: list[str] = []

    def read() -> None:
        for _ in range(20):
            for key, tensor in TENSORS.items():
                source.will_need(key)
                out = torch.empty(tensor.shape)
                source.read_into(key, out)
                if not torch.equal(out, torch.from_numpy(tensor).float()):
                    wrong.append(key)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reads_from_storage_are_told_of_until_nobody_asks(source):
    told: list[int] = []
    source.observe_reads(lambda start, end, nbytes: told.append(nbytes))
    source.read_into("a.weight", torch.empty(8, 3, 3, 3))
    assert sum(told) >= source.info("a.weight").stored_nbytes
    source.observe_reads(None)
    count = len(told)
    source.hold("c.weight")
    assert len(told) == count


def test_hints_do_no_harm(source):
    for key in TENSORS:
        source.will_need(key)
        source.wont_need(key)
    out = torch.empty(8, 3, 3, 3, dtype=torch.float16)
    source.read_into("a.weight", out)
    assert torch.equal(out, torch.from_numpy(TENSORS["a.weight"]))
