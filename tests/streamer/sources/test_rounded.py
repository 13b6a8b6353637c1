"""Values as of a model that was cast to another type and back."""

from __future__ import annotations

import pytest
import torch

from streamer.sources.rounded import RoundedSource
from tests.streamer.tower import MemorySource

VALUES = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rounded", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("read", [torch.float32, torch.float16, torch.bfloat16])
def test_values_go_through_the_type(stored, rounded, read):
    below = MemorySource({"w": VALUES.to(stored)})
    source, want = RoundedSource(below, rounded), VALUES.to(stored).to(rounded).to(read)
    out, held = torch.empty(7, 5, dtype=read), torch.empty(7, 5, dtype=read)
    source.read_into("w", out)
    source.hold("w").write_into(held)
    assert torch.equal(out, want)
    assert torch.equal(held, want)
    info = source.info("w")
    assert (info.dtype, info.shape, info.held_nbytes) == (rounded, (7, 5), source.hold("w").nbytes)


def test_all_else_is_of_the_source_below():
    below = MemorySource({"w": VALUES})
    source, told = RoundedSource(below, torch.float16), []
    assert (source.name, source.label) == (below.name, below.label)
    assert list(source.keys()) == ["w"]
    assert list(source.mentioned()) == [("w", (7, 5))]
    source.observe_reads(lambda *read: told.append(read))
    source.will_need("w")
    source.wont_need("w")
    source.hold("w")
    assert below.hints == [("will need", "w"), ("won't need", "w")]
    assert len(told) == 1
    source.close()
    assert below.closed


def test_whatever_the_default_device_is_it_is_read_in_host_memory():
    source, out = RoundedSource(MemorySource({"w": VALUES}), torch.float16), torch.empty(7, 5)
    with torch.device("meta"):
        source.read_into("w", out)
    assert torch.equal(out, VALUES.half().float())
