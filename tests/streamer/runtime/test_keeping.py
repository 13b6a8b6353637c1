"""Which tensors stay in host memory, and which leave the page cache."""

from __future__ import annotations

import pytest
import torch

from streamer.config import StreamSettings
from streamer.plan import lay_out, make_plan
from streamer.runtime.keeping import keep_by, may_keep
from streamer.sources.base import TensorInfo
from tests.streamer.tower import MemorySource

SOURCE = MemorySource({f"b{i}": torch.zeros(256) for i in range(6)})
BLOCKS = [lay_out(f"b{i}", [(f"b{i}", (256,))], 4) for i in range(6)]


def test_what_stays_on_the_device_needs_no_host_memory():
    plan = make_plan(BLOCKS, range(6), 4 * 1024)
    keeping = keep_by(plan, SOURCE, StreamSettings(ram_budget_nbytes=1 << 20))
    assert keeping.kept == {f"b{i}" for i in plan.streamed}
    assert keeping.dropped == frozenset()


def kept_by(ram: int, page_cache: int):
    """Of six blocks of 1024 bytes, of which none stays on the device."""
    plan = make_plan(BLOCKS, range(6), 2 * 1024)
    assert len(plan.streamed) == 6
    return keep_by(plan, SOURCE, StreamSettings(ram_budget_nbytes=ram, page_cache_nbytes=page_cache))


def test_the_budgets_are_kept():
    keeping = kept_by(ram=2500, page_cache=3 * 1024)
    assert len(keeping.kept) == 2
    assert len(keeping.again - keeping.dropped) == 3
    assert len(keeping.again & keeping.dropped) == 1
    assert not keeping.in_memory


def test_what_is_kept_in_host_memory_takes_no_page_cache_from_the_rest():
    keeping = kept_by(ram=2500, page_cache=5 * 1024)
    assert keeping.dropped == keeping.kept
    assert keeping.in_memory


def test_where_all_is_kept_nothing_of_a_larger_file_stays_in_the_page_cache():
    keeping = kept_by(ram=6 * 1024, page_cache=5 * 1024)
    assert keeping.dropped == keeping.kept == {f"b{i}" for i in range(6)}
    assert keeping.again == frozenset()
    assert keeping.in_memory


def test_a_file_that_fits_stays_in_the_page_cache_for_the_next_start():
    keeping = kept_by(ram=6 * 1024, page_cache=6 * 1024)
    assert keeping.dropped == frozenset()


@pytest.mark.parametrize("only_smaller", [False, True])
@pytest.mark.parametrize(("ram", "packed"), [(0, 0), (1 << 20, 0), (1 << 20, 1 << 20), (300, 300)])
@pytest.mark.parametrize(("stored", "held"), [(1024, 1024), (4096, 1024), (100, 60), (100, 400)])
def test_what_may_be_kept_is_what_some_plan_keeps(only_smaller, ram, packed, stored, held):
    info = TensorInfo((256,), stored, held, torch.float16)
    settings = StreamSettings(ram_budget_nbytes=ram, hold_only_smaller=only_smaller, packed_ram_nbytes=packed)

    class One(MemorySource):
        def info(self, key):
            return info

    kept = keep_by(make_plan(BLOCKS, range(6), 2 * 1024), One({f"b{i}": torch.zeros(256) for i in range(6)}), settings)
    assert may_keep(info, settings) == bool(kept.kept)
