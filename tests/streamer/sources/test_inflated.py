"""Where an inflated tensor's sections lie in memory."""

from __future__ import annotations

import pytest
import torch

from streamer.plan.packed import InflatedSizes
from streamer.sources.inflated import InflatedSections

SIZES = InflatedSizes(rows=3, columns=21, d=8, blocks=3, overlay_count=5)


def test_the_sections_have_their_shapes_share_the_memory_and_no_byte():
    memory = torch.zeros(SIZES.nbytes, dtype=torch.uint8)
    sections = InflatedSections.within(memory, SIZES)
    parts = (sections.indices, sections.levels, sections.positions, sections.values)
    assert [tuple(part.shape) for part in parts] == [(3, 3), (3, 3), (5,), (5,)]
    for number, part in enumerate(parts):
        part.fill_(0x0101 * (number + 1))
    assert [set(part.view(-1).tolist()) for part in parts] == [{0x0101 * (n + 1)} for n in range(4)]
    assert memory.count_nonzero() == 2 * (9 + 9 + 5 + 5)


@pytest.mark.parametrize("sizes", [InflatedSizes(0, 0, 8, 0, 0), InflatedSizes(4, 7, 8, 0, 0)])
def test_sections_may_be_empty(sizes):
    sections = InflatedSections.within(torch.zeros(sizes.nbytes, dtype=torch.uint8), sizes)
    assert sections.indices.shape == (sizes.rows, 0)
    assert sections.levels.shape == (sizes.rows, 3)


def test_too_little_memory_is_an_error():
    with pytest.raises(ValueError, match="bytes"):
        InflatedSections.within(torch.zeros(SIZES.nbytes - 2, dtype=torch.uint8), SIZES)
