"""Which tensors are weights."""

from __future__ import annotations

import pytest
import torch

from streamer.convert.selection import weights_among, without_the_rest
from streamer.errors import WeightsFileError
from tests.streamer.tower import MemorySource

WEIGHT = torch.ones(4, 4)
POSITIONS = torch.arange(77).reshape(1, 77)


def chosen(tensors: dict[str, torch.Tensor], *, scalars: bool = False) -> tuple[list[str], list[str]]:
    told: list[str] = []
    source = MemorySource(tensors)
    return weights_among(source, source.keys(), scalars=scalars, warn=told.append), told


def test_a_text_encoders_positions_and_scalars_are_left_out_and_named():
    tensors = {"e.position_ids": POSITIONS, "w": WEIGHT, "logit_scale": torch.tensor(4.6)}
    kept, told = chosen(tensors)
    assert kept == ["w"]
    assert told == [
        "memory: e.position_ids left out: whole numbers that count or order, no weights.",
        "memory: logit_scale left out: scalars, which LZR2 has no place for.",
    ]
    assert chosen(tensors, scalars=True)[0] == ["w", "logit_scale"]


def test_positions_are_known_by_their_name_in_any_type():
    assert chosen({"w": WEIGHT, "e.position_ids": POSITIONS.to(torch.int32)})[0] == ["w"]


def test_many_are_counted():
    kept, told = chosen({"w": WEIGHT} | {f"n{i}": torch.arange(2) for i in range(9)})
    assert kept == ["w"]
    assert told == ["memory: n0, n1, n2 and 6 more left out: whole numbers that count or order, no weights."]


@pytest.mark.parametrize(
    "tensors",
    [
        {"w": WEIGHT.to(torch.int8), "scale": torch.ones(4)},
        {"qweight": torch.ones(4, 4, dtype=torch.int32), "scales": WEIGHT, "n": torch.arange(3)},
        {"n": torch.arange(3), "m": torch.arange(3)},
        {"w": WEIGHT.to(torch.float8_e4m3fn), "w.scale": torch.tensor(0.5)},
    ],
)
def test_quantised_weights_are_an_error(tensors):
    with pytest.raises(WeightsFileError, match="quantised weights"):
        chosen(tensors)


def test_plain_float8_is_weights():
    assert chosen({"w": WEIGHT.to(torch.float8_e4m3fn)}) == (["w"], [])


@pytest.mark.parametrize(("tensors", "words"), [({}, "no weights$"), ({"s": torch.tensor(1.0)}, "only 1 scalars")])
def test_nothing_left_is_an_error(tensors, words):
    with pytest.raises(WeightsFileError) as caught:
        chosen(tensors)
    assert caught.match(words.rstrip("$"))
    assert caught.value.path == "memory"


def test_the_source_without_them_gives_the_rest_and_closes_what_it_owns():
    below = MemorySource({"w": WEIGHT, "n": torch.arange(3)})
    source = without_the_rest(below, lambda line: None)
    assert list(source.keys()) == ["w"]
    assert source.name == "memory"
    source.close()
    assert below.closed
