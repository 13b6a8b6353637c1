"""The k-th read, decode, upload and allocation fails, for every k: one clean error, then all works; nothing is left."""

from __future__ import annotations

import copy
import errno
import gc
import itertools
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lzr2 import decode, past_caches, widened_read
from streamer.config import StreamSettings
from streamer.errors import WeightsFileError
from streamer.runtime import slots
from streamer.sources.cast import DenseTensor
from streamer.sources.lzr2 import InflatedHeld
from streamer.tiers.expand import Expander
from streamer.tiers.staging import StagingPool
from streamer.tiers.unpack import Unpacker
from streamer.tiers.upload import StagedUpload
from tests.streamer.runtime.files import KINDS, open_tower, stream_file, tower_in_file
from tests.streamer.tower import LAYER_NBYTES, WIDTH, prefetch_threads

BUDGET = 512 + 3 * LAYER_NBYTES


class FailsOnce:
    """Stands in for a function: the k-th call raises, all others go through."""

    def __init__(self, function: Callable[..., Any], k: int, error: BaseException) -> None:
        self._function, self._error = function, error
        self._numbers = itertools.count(1)
        self._k = k
        self.failed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if next(self._numbers) == self._k:
            self.failed = True
            raise copy.copy(self._error)
        return self._function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any) -> Any:
        """As a method."""
        return self if instance is None else lambda *args, **kwargs: self(instance, *args, **kwargs)


class OnWorkersOnly(FailsOnce):
    """As FailsOnce, counting only the calls of the engine's own threads."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name.startswith("streamer-prefetch"):
            return super().__call__(*args, **kwargs)
        return self._function(*args, **kwargs)


BROKEN = OSError(errno.EIO, "the disk is broken")
FULL = MemoryError("no memory left")
FAULTS: dict[str, tuple[Any, str, BaseException, type[FailsOnce], type[BaseException]]] = {
    "read": (os, "preadv", BROKEN, OnWorkersOnly, WeightsFileError),
    "decode": (decode, "_expand_stream", FULL, FailsOnce, MemoryError),
    "decode past the caches": (decode, "_decode_past_caches", FULL, FailsOnce, MemoryError),
    "expand what is held": (InflatedHeld, "write_into", FULL, FailsOnce, MemoryError),
    "cast what is held": (DenseTensor, "write_into", FULL, FailsOnce, MemoryError),
    "upload": (StagedUpload, "send", RuntimeError("the link is broken"), FailsOnce, RuntimeError),
    "allocation": (np, "empty", FULL, OnWorkersOnly, MemoryError),
    "packed: read": (os, "preadv", BROKEN, OnWorkersOnly, WeightsFileError),
    "packed: allocation": (np, "empty", FULL, OnWorkersOnly, MemoryError),
    "packed: write to staging": (InflatedHeld, "write_inflated_into", FULL, FailsOnce, MemoryError),
    "packed: upload": (StagedUpload, "send", RuntimeError("the link is broken"), FailsOnce, RuntimeError),
    "packed: expand": (Unpacker, "unpack", RuntimeError("the kernel is broken"), FailsOnce, RuntimeError),
    "packed: expand one tensor": (Expander, "expand", RuntimeError("the kernel is broken"), FailsOnce, RuntimeError),
}
NEVER = {
    ("decode", "safetensors"),
    ("decode past the caches", "safetensors"),
    ("expand what is held", "safetensors"),
    ("expand what is held", "overlay-heavy"),
}
if widened_read.IS_POSSIBLE:
    NEVER.add(("allocation", "safetensors"))
CASES = [
    pytest.param(fault, kind, marks=[pytest.mark.slow] if fault == "packed: allocation" else [])
    for fault in FAULTS
    for kind in (["lattice-heavy"] if fault.startswith("packed") else KINDS)
]


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="reads go another way")
@pytest.mark.parametrize(("fault", "kind"), CASES)
def test_one_fault_is_one_error_and_nothing_else(fault, kind, tmp_path, monkeypatch):
    owner, name, error, way, expected = FAULTS[fault]
    ram = 100_000 if "held" in fault else 0
    packed = fault.startswith("packed")
    budget = BUDGET + 2 * LAYER_NBYTES * packed  # of a lattice-heavy file's blocks three then stay packed
    settings = StreamSettings(budget, ram, 2, staged=True, device_decode=packed)
    tower, path = tower_in_file(kind, tmp_path)
    x = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))
    if fault.endswith("read"):  # the system's calls, one by one; what the compiled loop leaves is read like this
        monkeypatch.setattr(widened_read, "IS_POSSIBLE", False)
    if fault == "decode past the caches":  # whatever its size
        monkeypatch.setattr(past_caches, "WORTH_NBYTES", 0)
    threads = threading.active_count()
    gc.collect()
    gc.freeze()  # what torch and others keep needn't be looked through each time
    with torch.no_grad():
        want = tower(x)
        for k in itertools.count(1):
            source = open_tower(path)
            failing = way(getattr(owner, name), k, error)
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, failing)
                streamed, handle = stream_file(tower, source, settings)
                raised = []
                for _ in range(2):
                    try:
                        assert torch.equal(streamed(x), want)
                    except expected as told:
                        raised.append(told)
            try:
                assert torch.equal(streamed(x), want)
            except expected as told:  # a worker was already inside what fails when it was mended
                raised.append(told)
                assert torch.equal(streamed(x), want)
            slab = weakref.ref(handle._engine._slots._arena._slab)
            assert len(raised) <= 1, raised  # none where what failed was loaded ahead and is loaded again in time
            handle.close()
            assert prefetch_threads() == []
            assert handle.held_nbytes == 0
            del streamed, handle, source, raised
            gc.collect()
            assert slab() is None
            if not failing.failed:
                break
    gc.unfreeze()
    assert threading.active_count() == threads
    assert (k == 1) == ((fault, kind) in NEVER)


@pytest.mark.parametrize("k", range(1, 4))
def test_memory_for_the_slab_or_the_staging_buffers_that_is_refused_is_asked_for_again(k, tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x = torch.randn(2, WIDTH)
    with torch.no_grad():
        want = tower(x)
        failing = FailsOnce(torch.empty, k, RuntimeError("allocate memory"))
        with monkeypatch.context() as patched:
            patched.setattr(torch, "empty", failing)
            streamed, handle = stream_file(tower, open_tower(path), StreamSettings(BUDGET, 0, 2, staged=True))
        assert failing.failed
        with handle:
            handle.suspend()
            failing = FailsOnce(torch.empty, k, RuntimeError("allocate memory"))
            with monkeypatch.context() as patched:
                patched.setattr(torch, "empty", failing)
                with pytest.raises(RuntimeError, match="allocate memory"):
                    streamed(x)
            assert failing.failed
            assert torch.equal(streamed(x), want)
        assert prefetch_threads() == []


@pytest.mark.parametrize("k", range(1, 4))
def test_page_locked_memory_that_is_refused_is_told_and_done_without(k, tmp_path, monkeypatch):
    tower, path = tower_in_file("overlay-heavy", tmp_path)
    x = torch.randn(2, WIDTH)
    empty = torch.empty
    pinned: list[int] = []

    def pin(*sizes: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        if pin_memory:
            pinned.append(1)
            if len(pinned) == k:
                raise RuntimeError("page-locked memory is used up")
        return empty(*sizes, **more)

    monkeypatch.setattr(torch, "empty", pin)
    monkeypatch.setattr(slots, "StagingPool", lambda count, nbytes, pinned: StagingPool(count, nbytes, pinned=True))
    with torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        want = tower(x)
        streamed, handle = stream_file(tower, open_tower(path), StreamSettings(BUDGET, 0, 2, staged=True))
        with handle:
            for _ in range(2):
                assert torch.equal(streamed(x), want)
            handle.set_budget(BUDGET + LAYER_NBYTES)  # staged anew, pinned anew
            assert torch.equal(streamed(x), want)
    refused = [str(warning.message) for warning in told if "Page-locked" in str(warning.message)]
    assert len(refused) == 1
    assert "used up" in refused[0]
    assert prefetch_threads() == []
