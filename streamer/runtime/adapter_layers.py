"""Adapters around streamed layers: they find the weights where they read them, and can't be merged into them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils.hooks import RemovableHandle

from streamer.errors import EvictedWeightsError
from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.peft_layers import (
    BASE_PARAMETERS,
    MERGE,
    SCALE,
    adapters_are_fused,
    adapters_are_loaded_or_saved,
    is_merged,
    wrapped_layer,
    wraps,
)

HINT = (
    "Leave it out: adapters are applied in each step, with the same effect. With memory for all weights, detach() "
    "makes an ordinary module, which can be fused."
)


def require_unmerged(root: nn.Module) -> None:
    """Returns if no adapter was added to the weights that the module has in memory: those are about to be let go of.

    Raises:
        EvictedWeightsError: one was.
    """
    if any(is_merged(module) for module in root.modules()):
        raise EvictedWeightsError(
            "An adapter is fused into this module: its weights would be lost with those in memory.",
            "Call unfuse_lora() before: adapters are applied to streamed weights in each step, with the same effect.",
        )


class AdapterLayers:
    """Layers of peft that are put around a module's streamed layers, before or later.

    Some (DoRA) read the weights of the layer that they are put around: beside its forward, so where that layer is a
    block, theirs is the block's turn; and when they are made, so they are lent the weights for that moment.

    Args:
        root: the module.
        blocks: a partition of its streamed parameters.
        hook: makes the module's forward a turn of the block of this number.
        read: gives a parameter's values in memory of their own, as the parameter is.
    """

    def __init__(
        self,
        root: nn.Module,
        blocks: Sequence[ModuleBlock],
        hook: Callable[[nn.Module, int], Sequence[RemovableHandle]],
        read: Callable[[ParameterPlace], torch.Tensor],
    ) -> None:
        self._hook = hook
        self._read = read
        self._places: dict[int, list[ParameterPlace]] = {}  # by the id of their owner, which they keep alive
        for block in blocks:
            for place in block.places:
                self._places.setdefault(id(place.owner), []).append(place)
        self._turns = {id(block.module): i for i, block in enumerate(blocks) if not block.pinned}
        self._layers: weakref.WeakKeyDictionary[nn.Module, Sequence[RemovableHandle]] = weakref.WeakKeyDictionary()
        self._lent: list[tuple[nn.Parameter, torch.Tensor]] = []
        self._before: list[tuple[nn.Parameter, torch.Tensor]] = []  # of the layer that is being adapted
        for module in root.modules():
            self._put(module)
        me = weakref.ref(self)

        def registered(parent: nn.Module, name: str, new: nn.Module | nn.Parameter | None) -> None:
            layers = me()
            if layers is None:
                return
            layers._take_back()
            if isinstance(new, nn.Module):
                if wraps(parent, name):
                    layers._begin(parent, wrapped_layer(new) or new)
                layers._put(new)

        def before_forward(*_: object) -> None:
            layers = me()
            if layers is not None:
                layers._take_back()
                layers._before.clear()

        self._told = [
            register_module_module_registration_hook(registered),
            register_module_parameter_registration_hook(registered),
            root.register_forward_pre_hook(before_forward, prepend=True),
        ]
        weakref.finalize(self, _remove, self._told)

    def forget(self, places: Sequence[ParameterPlace]) -> None:
        """These parameters don't stream any more: adapters find them where they are."""
        for place in places:
            self._places.pop(id(place.owner), None)
            place.owner.__dict__.pop(BASE_PARAMETERS, None)

    def close(self) -> None:
        """What comes later isn't looked at; what is there stays as it is."""
        self._take_back()
        _remove(self._told)

    def remove(self) -> None:
        """Adapters are as peft made them, and so are those that come."""
        self.close()
        for layer, handles in self._layers.items():
            for name in (MERGE, SCALE):
                layer.__dict__.pop(name, None)
            _remove(handles)
        self._layers.clear()
        for places in self._places.values():
            places[0].owner.__dict__.pop(BASE_PARAMETERS, None)

    def _put(self, module: nn.Module) -> None:
        layer = wrapped_layer(module)
        if layer is None or id(layer) not in self._places or module in self._layers:
            return
        self._require_unchanged(layer)
        module.__dict__[MERGE] = _refuse_merging
        module.__dict__[SCALE] = _scaling_unless_fused(module)
        self._prepare_lending(module, layer)
        turn = self._turns.get(id(layer))
        self._layers[module] = () if turn is None else self._hook(module, turn)

    def _begin(self, module: nn.Module, layer: nn.Module) -> None:
        """An adapter is being made around the layer."""
        self._prepare_lending(module, layer)
        parameters = [place.parameter for place in self._places.get(id(layer), ())]
        self._before = [(parameter, parameter.data) for parameter in parameters]

    def _require_unchanged(self, layer: nn.Module) -> None:
        changed = [each for each in self._before if each[0].data_ptr() != each[1].data_ptr()]
        self._before.clear()
        for parameter, data in changed:
            parameter.data = data
        if changed:
            raise EvictedWeightsError(
                "This adapter's initialisation changes the weights of the layer that it is put around, which are "
                "streamed.",
                "Make it around a module that isn't streamed, and save it as LoRA: that can be loaded.",
            )

    def _prepare_lending(self, module: nn.Module, layer: nn.Module) -> None:
        """From now on something stands for the layer's ``parameters``, which peft calls right before it reads them."""
        if id(layer) not in self._places:
            return
        me, around, inside = weakref.ref(self), weakref.ref(module), weakref.ref(layer)

        def parameters(recurse: bool = True) -> Iterator[nn.Parameter]:
            layers, adapter, own = me(), around(), inside()
            if layers is not None and adapter is not None and own is not None and adapters_are_loaded_or_saved():
                layers._lend(adapter, own)
            assert own is not None
            return type(own).parameters(own, recurse)

        layer.__dict__[BASE_PARAMETERS] = parameters

    def _lend(self, module: nn.Module, layer: nn.Module) -> None:
        self._take_back()
        if any(parameter.is_meta for parameter in module.parameters()):
            return  # only shapes are wanted: the adapter's values come later
        for place in self._places[id(layer)]:
            parameter, values = place.parameter, self._read(place)
            self._lent.append((parameter, parameter.data))
            parameter.data = values

    def _take_back(self) -> None:
        while self._lent:
            parameter, before = self._lent.pop()
            parameter.data = before


def _scaling_unless_fused(module: nn.Module) -> Callable[[float], None]:
    """A layer is scaled before it is merged: refused there, nothing has changed."""
    me = weakref.ref(module)

    def scale_layer(scale: float) -> None:
        layer = me()
        assert layer is not None
        if adapters_are_fused():
            _refuse_merging()
        getattr(type(layer), SCALE)(layer, scale)

    return scale_layer


def _refuse_merging(safe_merge: bool = False, adapter_names: list[str] | None = None) -> Any:
    raise EvictedWeightsError(
        "The weights of this module are streamed: most of them aren't in memory, so no adapter can be merged.",
        HINT,
    )


def _remove(handles: Sequence[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
