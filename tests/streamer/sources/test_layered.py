"""One source over another."""

from __future__ import annotations

import pytest
import torch

from streamer.sources.layered import LayeredSource
from tests.streamer.tower import MemorySource


@pytest.fixture
def upper():
    return MemorySource({"a": torch.full((2,), 1.0), "b": torch.full((2,), 2.0)})


@pytest.fixture
def lower():
    return MemorySource({"b": torch.full((3,), 20.0), "c": torch.full((3,), 30.0)})


def value(source: LayeredSource, key: str) -> list[float]:
    out = torch.empty(source.info(key).shape)
    source.read_into(key, out)
    held = torch.empty_like(out)
    source.hold(key).write_into(held)
    assert torch.equal(out, held)
    return out.tolist()


def test_the_first_layer_that_has_a_key_gives_it(upper, lower):
    source = LayeredSource([upper, lower])
    assert set(source.keys()) == {"a", "b", "c"}
    assert [value(source, key) for key in "abc"] == [[1, 1], [2, 2], [30, 30, 30]]
    assert set(lower.reads) == {"c"}


def test_a_hidden_key_comes_from_below(upper, lower):
    source = LayeredSource([upper, lower], hidden=["b"])
    assert value(source, "b") == [20, 20, 20]
    assert source.info("b").shape == (3,)


def test_a_hidden_key_that_nothing_below_has_is_gone(upper, lower):
    source = LayeredSource([upper, lower], hidden=["a", "c"])
    assert set(source.keys()) == {"b", "c"}
    with pytest.raises(KeyError):
        source.read_into("a", torch.empty(2))


def test_the_name_says_what_lies_over_what(upper, lower):
    assert LayeredSource([upper, lower]).name == "memory over memory"


def test_hints_go_to_the_layer_that_gives_the_tensor(upper, lower):
    hints: list[tuple[str, str]] = []
    upper.will_need = lambda key: hints.append(("upper", key))
    lower.will_need = lambda key: hints.append(("lower", key))
    source = LayeredSource([upper, lower])
    for key in "abc":
        source.will_need(key)
    assert hints == [("upper", "a"), ("upper", "b"), ("lower", "c")]


def test_closing_closes_every_layer(upper, lower):
    LayeredSource([upper, lower]).close()
    assert upper.closed
    assert lower.closed


def test_a_layer_that_cannot_be_closed_keeps_no_other_open(upper, lower):
    def fail() -> None:
        raise OSError("gone")

    upper.close = fail
    with pytest.raises(OSError, match="gone"):
        LayeredSource([upper, lower]).close()
    assert lower.closed
