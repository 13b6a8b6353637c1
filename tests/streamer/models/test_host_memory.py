"""How much host memory is used for weights between steps, when nobody says."""

from __future__ import annotations

import torch

from streamer.config import UNLIMITED
from streamer.models.host_memory import HostMemory, default_host_memory, page_cache_share
from tests.streamer.tower import MemorySource


def test_a_gpu_takes_half_of_what_is_free_and_a_cpu_a_quarter_with_packed_weights_within_its_budget():
    assert default_host_memory("cuda", 4_000, 16_000) == HostMemory(8_000)
    assert default_host_memory("cpu", 1_000, 16_000) == HostMemory(
        4_000, hold_only_smaller=True, packed_ram_nbytes=1_000
    )


def test_the_page_cache_gets_half_of_what_weights_in_memory_leave():
    weights = MemorySource({"a": torch.zeros(1000), "b": torch.zeros(250)})  # 5,000 bytes to hold
    assert page_cache_share(16_000, 4_000, weights) == 6_000
    assert page_cache_share(1_000, 4_000, weights) == 0


def test_of_a_budget_that_no_weights_need_the_rest_is_free():
    weights = MemorySource({"a": torch.zeros(1000)})
    assert page_cache_share(16_000, UNLIMITED, weights) == 6_000
