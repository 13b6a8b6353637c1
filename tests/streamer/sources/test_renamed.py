"""A source whose tensors go by other keys."""

from __future__ import annotations

import pytest
import torch

from streamer.sources.renamed import RenamedSource
from tests.streamer.tower import MemorySource


@pytest.fixture
def below():
    return MemorySource({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])})


def test_tensors_are_found_under_the_new_keys_and_no_others(below):
    source = RenamedSource(below, {"x": "a"})
    assert set(source.keys()) == {"x"}
    assert list(source.mentioned()) == [("x", (2,))]
    assert source.info("x") == below.info("a")
    out, held = torch.empty(2), torch.empty(2)
    source.read_into("x", out)
    source.hold("x").write_into(held)
    assert out.tolist() == held.tolist() == [1, 2]
    with pytest.raises(KeyError):
        source.info("a")


def test_hints_observers_names_and_the_end_reach_the_source_below(below):
    source = RenamedSource(below, {"x": "a"})
    assert (source.name, source.label) == (below.name, below.label)
    source.will_need("x")
    source.wont_need("x")
    assert below.hints == [("will need", "a"), ("won't need", "a")]
    seen = []
    source.observe_reads(lambda *read: seen.append(read))
    source.read_into("x", torch.empty(2))
    assert len(seen) == 1
    source.close()
    assert below.closed
