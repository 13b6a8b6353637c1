"""Which modules of a tree are blocks: the units that are moved as one."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import nn

from streamer.runtime.bind import ModuleBlock, ParameterPlace
from streamer.runtime.diffusers_names import is_image_adapter
from streamer.runtime.peft_layers import own_layers, wrapped_layer
from streamer.runtime.torch_names import own_parameters

LARGE_LEAF = 1 << 18
"""Weights. A layer outside any block, one that has most weights below it itself, is a block from this size on; smaller
ones always stay."""

REST = "rest"


def find_blocks(
    root: nn.Module, kinds: Collection[str], is_runway: Callable[[str], bool] = lambda name: False
) -> list[ModuleBlock]:
    """A partition of the tree's parameters into blocks, in the order of the tree; the small rest is the first, pinned.

    Adapters that peft has put around layers, and IP-Adapters, are left out and change no names.

    Args:
        root: of the tree.
        kinds: names of the module classes that are blocks, whatever their size.
        is_runway: whether the module of this name is small and much computed.

    Raises:
        ValueError: two modules share a parameter (tied weights), which can't be in two places.
    """
    blocks: list[ModuleBlock] = []
    rest: list[ParameterPlace] = []
    _walk(root, "", frozenset(kinds), is_runway, blocks, rest)
    seen: set[int] = set()
    for place in [*rest, *(place for block in blocks for place in block.places)]:
        if id(place.parameter) in seen:
            raise ValueError(f"parameter {place.key} is shared with another module")
        seen.add(id(place.parameter))
    return [ModuleBlock(REST, root, tuple(rest), pinned=True), *blocks]


def _walk(
    module: nn.Module,
    name: str,
    kinds: frozenset[str],
    is_runway: Callable[[str], bool],
    blocks: list[ModuleBlock],
    rest: list[ParameterPlace],
) -> None:
    module = wrapped_layer(module) or module
    own = _places(module, name, recurse=False)
    if type(module).__name__ in kinds:
        blocks.append(ModuleBlock(name, module, _places(module, name, recurse=True), runway=is_runway(name)))
        return
    children = [(key, child) for key, child in module.named_children() if not is_image_adapter(child)]
    if _numel(own) >= LARGE_LEAF:
        whole = _places(module, name, recurse=True)
        if 2 * _numel(own) >= _numel(whole):
            # With what little it has below it, which it may read itself, as torch's MultiheadAttention does.
            blocks.append(ModuleBlock(name, module, whole, runway=is_runway(name)))
            return
    rest.extend(own)
    for child_name, child in children:
        _walk(child, f"{name}.{child_name}" if name else child_name, kinds, is_runway, blocks, rest)


def _numel(places: Collection[ParameterPlace]) -> int:
    return sum(place.parameter.numel() for place in places)


def _places(module: nn.Module, name: str, *, recurse: bool) -> tuple[ParameterPlace, ...]:
    places: list[ParameterPlace] = []
    for path, sub in own_layers(module, name) if recurse else [(name, module)]:
        places.extend(
            ParameterPlace(f"{path}.{attribute}" if path else attribute, sub, attribute)
            for attribute, parameter in own_parameters(sub).items()
            if parameter is not None
        )
    return tuple(places)
