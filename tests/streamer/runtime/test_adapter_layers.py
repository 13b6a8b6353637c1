"""Adapters around layers each of which is a block of its own: the hardest case, with a tower instead of a model."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch

from streamer.config import StreamSettings
from streamer.errors import EvictedWeightsError
from tests.streamer.tower import LAYER_NBYTES, Tower, stream_tower

peft = pytest.importorskip("peft")
TIGHT = 512 + LAYER_NBYTES  # the small rest and one layer
X = torch.linspace(-1, 1, 32).reshape(2, 16)


def put_adapters(tower: Tower, name: str = "it", **settings: object) -> Tower:
    torch.manual_seed(3)
    config = peft.LoraConfig(r=2, target_modules=["layers.1", "layers.2", "layers.4"], **settings)
    peft.inject_adapter_in_model(config, tower, name)
    return tower


def result(tower: Tower) -> torch.Tensor:
    with torch.no_grad():
        return tower(X)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("workers", [0, 1])
def test_later_adapters_compute_with_and_start_from_the_weights(dora, initial, workers):
    tower = Tower()
    want = put_adapters(copy.deepcopy(tower), use_dora=dora, init_lora_weights=initial)
    handle, _ = stream_tower(tower, StreamSettings(workers=workers))
    put_adapters(tower, use_dora=dora, init_lora_weights=initial)
    theirs = dict(want.named_parameters())
    mine = {name: p for name, p in tower.named_parameters() if "lora" in name}
    assert mine
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in mine.items())
    handle.budget_nbytes = handle.smallest_nbytes
    with handle:
        for _ in range(3):
            assert torch.equal(result(tower), result(want))
        assert handle.plan.streamed_nbytes > 0
        put_adapters(tower, "second", use_dora=dora, init_lora_weights=initial)
        put_adapters(want, "second", use_dora=dora, init_lora_weights=initial)
        handle.budget_nbytes = handle.smallest_nbytes
        for each in (tower, want):
            for layer in (1, 2, 4):
                each.layers[layer].set_adapter(["it", "second"])
        assert torch.equal(result(tower), result(want))


def test_the_weights_are_there_for_all_of_the_adapters_forward_and_not_after():
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(TIGHT * 2, workers=0))
    put_adapters(tower)
    seen = []
    own = tower.layers[1].base_layer
    tower.layers[1].register_forward_hook(lambda *_: seen.append(own.weight.clone()), prepend=True)
    with handle:
        handle.budget_nbytes = handle.smallest_nbytes
        result(tower)
        assert torch.equal(seen[0], source.tensors["layers.1.weight"])
        assert own.weight.isnan().all()


def test_lent_weights_are_taken_back():
    tower = Tower()
    handle, source = stream_tower(tower, StreamSettings(TIGHT, workers=0))
    with handle:
        source.reads.clear()
        put_adapters(tower, use_dora=True)
        assert sorted(set(source.reads)) == [f"layers.{i}.{a}" for i in (1, 2, 4) for a in ("bias", "weight")]
        assert all(tower.layers[i].base_layer.weight.isnan().all() for i in (1, 2, 4))
        source.reads.clear()
        put_adapters(tower, "plain")
        assert source.reads == []


def test_adapters_that_begin_by_changing_the_weights_are_refused():
    tower = Tower()
    handle, _ = stream_tower(tower, StreamSettings(1 << 20, workers=0))
    want = result(tower)
    with handle:
        with pytest.raises(EvictedWeightsError, match="save it as LoRA"):
            put_adapters(tower, init_lora_weights="pissa")  # all weights happen to be there
        assert torch.equal(result(tower), want)


def test_merging_is_refused_until_it_is_detached():
    tower = Tower()
    handle, _ = stream_tower(put_adapters(tower, init_lora_weights=False), StreamSettings(1 << 20))
    put_adapters(tower, "later")
    want = result(tower)
    for layer in (1, 2, 4):
        for arguments in ({}, {"safe_merge": True}, {"adapter_names": ["it"]}):
            with pytest.raises(EvictedWeightsError, match="detach"):
                tower.layers[layer].merge(**arguments)
    tower.layers[1].scale_layer(0.5)
    tower.layers[1].unscale_layer(0.5)
    assert torch.equal(result(tower), want)
    handle.detach()
    assert torch.equal(result(tower), want)
    tower.layers[1].merge()
    assert tower.layers[1].merged
    assert torch.allclose(result(tower), want)


def test_an_interrupted_turn_does_not_outlast_its_step():
    tower = Tower()
    handle, _ = stream_tower(put_adapters(tower), StreamSettings(workers=0))
    handle.budget_nbytes = handle.smallest_nbytes
    want = result(tower)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handle:
        hook = tower.layers[2].base_layer.register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            result(tower)
        hook.remove()
        assert torch.equal(result(tower), want)


def test_layers_that_are_taken_off_leave_nothing_behind():
    tower = Tower()
    own = tower.layers[1]
    handle, _ = stream_tower(tower, StreamSettings(workers=0))
    with handle:
        hooks = len(own._forward_hooks)
        put_adapters(tower)
        there = weakref.ref(tower.layers[1])
        tower.layers[1] = own
        assert there() is None
        assert len(own._forward_hooks) == hooks
        for layer in (2, 4):
            tower.layers[layer] = tower.layers[layer].base_layer
        assert handle.in_memory_nbytes == 0
        result(tower)


def test_the_module_can_be_forgotten():
    tower = put_adapters(Tower())
    handle, _ = stream_tower(tower, StreamSettings(workers=0))
    put_adapters(tower, "later", use_dora=True)
    there = weakref.ref(tower)
    del tower, handle
    gc.collect()
    assert there() is None
