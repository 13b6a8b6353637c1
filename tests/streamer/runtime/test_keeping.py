"""Which tensors stay in host memory, and which leave the page cache."""

from __future__ import annotations

import torch

from streamer.config import StreamSettings
from streamer.plan import lay_out, make_plan
from streamer.runtime.keeping import keep_by
from tests.streamer.tower import MemorySource

SOURCE = MemorySource({f"b{i}": torch.zeros(256) for i in range(6)})
BLOCKS = [lay_out(f"b{i}", [(f"b{i}", (256,))], 4) for i in range(6)]


def test_what_stays_on_the_device_needs_no_host_memory():
    plan = make_plan(BLOCKS, range(6), 4 * 1024)
    keeping = keep_by(plan, SOURCE, StreamSettings(ram_budget_nbytes=1 << 20))
    assert keeping.kept == {f"b{i}" for i in plan.streamed}
    assert keeping.dropped == frozenset()


def test_the_budgets_are_kept():
    plan = make_plan(BLOCKS, range(6), 2 * 1024)
    keeping = keep_by(plan, SOURCE, StreamSettings(ram_budget_nbytes=2500, page_cache_nbytes=3 * 1024))
    assert len(keeping.kept) == 2
    assert len(keeping.dropped) == 3
    assert not keeping.kept & keeping.dropped
