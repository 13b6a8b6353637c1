"""Parameters pointed at memory and away again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamer.runtime.bind import Binder, ModuleBlock, ParameterPlace

CPU = torch.device("cpu")


def block_of(layer: nn.Linear) -> ModuleBlock:
    return ModuleBlock("layer", layer, tuple(ParameterPlace(name, layer, name) for name in ("weight", "bias")))


def begun(*layers: nn.Linear) -> Binder:
    binder = Binder([block_of(layer) for layer in layers], CPU, torch.float32)
    binder.begin()
    return binder


def test_bound_parameters_are_the_memory_and_unbound_ones_are_nan():
    layer = nn.Linear(3, 2)
    binder = begun(layer)
    assert torch.isnan(layer.weight).all()
    views = [torch.ones(2, 3), torch.zeros(2)]
    binder.bind(0, views)
    assert layer.weight.data_ptr() == views[0].data_ptr()
    assert torch.equal(layer(torch.ones(1, 3)), torch.full((1, 2), 3.0))
    binder.unbind(0)
    assert torch.isnan(layer.weight).all()
    assert layer.weight.shape == (2, 3)
    assert layer.weight.untyped_storage().nbytes() == 4


def test_the_parameter_stays_the_same_object_where_it_can():
    layer = nn.Linear(3, 2)
    before = layer.weight
    binder = begun(layer)
    binder.bind(0, [torch.ones(2, 3), torch.zeros(2)])
    assert layer.weight is before
    assert layer.weight.requires_grad  # as it was: it decides which kernels torch takes


def test_parameters_without_memory_or_of_another_type_get_device_and_type():
    with torch.device("meta"):
        meta = nn.Linear(3, 2)
    for layer in (meta, nn.Linear(3, 2, dtype=torch.float64)):
        begun(layer)
        assert (layer.weight.device, layer.weight.dtype, layer.weight.shape) == (CPU, torch.float32, (2, 3))


def test_binding_twice_keeps_the_first_and_unbinding_all_leaves_nothing():
    layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
    binder = begun(*layers)
    for number in (0, 1):
        binder.bind(number, [torch.ones(2, 3), torch.zeros(2)])
    binder.bind(0, [torch.zeros(2, 3), torch.zeros(2)])
    assert torch.equal(layers[0].weight, torch.ones(2, 3))
    binder.unbind_all()
    binder.unbind(0)
    assert all(torch.isnan(layer.weight).all() for layer in layers)


def test_what_is_dropped_is_bound_no_more():
    layer = nn.Linear(3, 2)
    binder = begun(layer)
    binder.drop({"weight"})
    layer.weight.data = torch.ones(2, 3)
    binder.bind(0, [torch.zeros(2)])
    assert torch.equal(layer.bias, torch.zeros(2))
    binder.unbind_all()
    assert torch.isnan(layer.bias).all()
    assert torch.equal(layer.weight, torch.ones(2, 3))


def test_until_it_begins_and_if_that_fails_half_way_parameters_are_what_they_were():
    layers = [nn.Linear(3, 2, dtype=torch.float64), nn.Linear(3, 2)]
    before = [(layer.weight, layer.weight.data.clone()) for layer in layers]
    binder = Binder([block_of(layer) for layer in layers], CPU, torch.float32)
    assert all(layer.weight is weight for layer, (weight, _) in zip(layers, before, strict=True))
    binder._placeholders[1] = [torch.empty(2, 3), torch.empty(2, dtype=torch.complex64), torch.empty(0)]
    with pytest.raises(ValueError, match="zip"):
        binder.begin()
    for layer, (weight, values) in zip(layers, before, strict=True):
        assert layer.weight is weight
        assert torch.equal(weight, values)
