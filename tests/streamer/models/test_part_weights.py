"""Weights of text encoders and VAE under the names of several years."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from streamer.errors import WeightsFileError, WeightsMismatchError
from streamer.models.part_weights import PartWeights, open_part


def other(key: str) -> tuple[str, ...]:
    return (f"new.{key}", f"old.{key}")


@pytest.mark.parametrize("prefix", ["", "new.", "old."])
def test_a_parameter_is_found_under_each_of_its_names(tmp_path, prefix):
    file = tmp_path / "w.safetensors"
    save_file({f"{prefix}weight": torch.ones(2, 3), f"{prefix}bias": torch.zeros(2), "more": torch.ones(1)}, file)
    source = open_part(PartWeights.of_files((file,)), nn.Linear(3, 2), other)
    out = torch.empty(2, 3)
    source.read_into("weight", out)
    source.close()
    assert out.eq(1).all()


def test_its_own_name_comes_first_then_the_others_in_order(tmp_path):
    tensors = {f"{prefix}weight": torch.full((2, 3), value) for prefix, value in (("", 1.0), ("new.", 2.0))}
    tensors |= {"new.bias": torch.full((2,), 3.0), "old.bias": torch.full((2,), 4.0)}
    save_file(tensors, tmp_path / "w.safetensors")
    source = open_part(PartWeights.of_files((tmp_path / "w.safetensors",)), nn.Linear(3, 2), other)
    weight, bias = torch.empty(2, 3), torch.empty(2)
    source.read_into("weight", weight)
    source.read_into("bias", bias)
    source.close()
    assert (weight[0, 0].item(), bias[0].item()) == (1, 3)


def test_what_is_missing_or_of_another_shape_is_named(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(3, 2)}, file)
    with pytest.raises(WeightsMismatchError) as caught:
        open_part(PartWeights.of_files((file,)), nn.Linear(3, 2), other)
    assert caught.value.missing == ("bias",)
    assert caught.value.wrong_shape == (("weight", (3, 2), (2, 3)),)


def test_numbers_that_are_no_weights_are_refused(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(2, 3, dtype=torch.int8), "bias": torch.ones(2)}, file)
    with pytest.raises(WeightsFileError, match="int8"):
        open_part(PartWeights.of_files((file,)), nn.Linear(3, 2), other)
