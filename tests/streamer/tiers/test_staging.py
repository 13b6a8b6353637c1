"""Staging buffers: leased, given back, each with the copy that has to end first."""

from __future__ import annotations

import pytest
import torch

from streamer.tiers.staging import StagingPool


def test_each_buffer_is_leased_once_and_then_there_are_none():
    pool = StagingPool(3, 100, pinned=False)
    leases = [pool.lease() for _ in range(3)]
    assert len({lease.memory.data_ptr() for lease in leases if lease}) == 3
    assert all(lease and lease.memory.nbytes == 100 for lease in leases)
    assert pool.lease() is None
    assert pool.nbytes == 300


def test_a_new_buffer_is_ready_at_once():
    lease = StagingPool(1, 8, pinned=False).lease()
    assert lease is not None
    assert lease.ready() is None


def test_the_buffer_given_back_longest_ago_comes_first_with_the_wait_for_its_own_copy():
    pool = StagingPool(2, 8, pinned=False)
    first, second = pool.lease(), pool.lease()
    assert first is not None
    assert second is not None
    waited: list[str] = []
    pool.give_back(second, lambda: waited.append("second"))
    pool.give_back(first, lambda: waited.append("first"))
    for expected in (second, first):
        lease = pool.lease()
        assert lease is not None
        assert lease.memory is expected.memory
        lease.ready()
    assert waited == ["second", "first"]


def test_if_pinning_is_refused_pageable_memory_does_with_one_warning(monkeypatch):
    empty = torch.empty

    def refuse(*args, pin_memory=False, **kwargs):
        if pin_memory:
            raise RuntimeError("no more locked pages")
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.warns(RuntimeWarning, match="no more locked pages") as caught:
        pool = StagingPool(4, 64, pinned=True)
    assert len(caught) == 1
    leases = [pool.lease() for _ in range(4)]
    assert all(lease and lease.memory.nbytes == 64 for lease in leases)


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.filterwarnings("ignore:Page-locked memory was refused")
def test_whatever_the_default_device_is_buffers_are_host_memory(pinned):
    with torch.device("meta"):
        lease = StagingPool(1, 8, pinned=pinned).lease()
    assert lease is not None
    assert lease.memory.device == torch.device("cpu")
