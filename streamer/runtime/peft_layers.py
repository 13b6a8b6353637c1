"""What peft's layers look like: the only file that names parts of peft and of the code that loads adapters with it.

peft itself isn't imported: whoever loads an adapter has it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from torch import nn

from streamer.runtime.diffusers_names import is_image_adapter
from streamer.runtime.torch_names import own_modules

_WRAPPED = {
    "BaseTunerLayer": "base_layer",
    "AuxiliaryTrainingWrapper": "original_module",
    "ModulesToSaveWrapper": "original_module",
}
_NAMES = tuple(dict.fromkeys(_WRAPPED.values()))
_LOADERS = ("peft", "diffusers.loaders.peft", "transformers.integrations.peft")
_FUSING = ("fuse_text_encoder_lora", "_fuse_lora_apply")

MERGE = "merge"
"""The method that adds an adapter to the weights of the layer that it is put around."""

SCALE = "scale_layer"
"""The method that multiplies what the active adapters add."""

BASE_PARAMETERS = "parameters"
"""The method of the layer that an adapter is put around, called before the adapter reads its weights."""


def wrapped_layer(module: nn.Module) -> nn.Module | None:
    """The model's own layer, where the module is one of peft's that was put around it; None for any other module."""
    inner = module
    while (below := _wrapped_once(inner)) is not None:
        inner = below
    return None if inner is module else inner


def wraps(module: nn.Module, attribute: str) -> bool:
    """Whether the module is one of peft's, and has under this name the layer that it is put around, or will have."""
    return attribute in _NAMES and attribute in (_WRAPPED.get(cls.__name__) for cls in type(module).__mro__)


def own_layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The module and all below it that are the model's own, once each, with the names they have without adapters.

    Args:
        module: of a tree.
        name: its own.
    """
    seen: set[int] = set()

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        module = wrapped_layer(module) or module
        if id(module) in seen:
            return
        seen.add(id(module))
        yield name, module
        for child_name, child in module.named_children():
            if is_image_adapter(child):
                continue
            yield from walk(child, f"{name}.{child_name}" if name else child_name)

    return walk(module, name)


def is_merged(module: nn.Module) -> bool:
    """Whether an adapter was added to the weights of the layer that this module is put around."""
    return wrapped_layer(module) is not None and bool(getattr(module, "merged_adapters", None))


def adapters_are_loaded_or_saved() -> bool:
    """Whether the calling code was called by what loads or saves adapters: it needs no weights but theirs."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name in _LOADERS or name.startswith("peft."):
            return True
        frame = frame.f_back
    return False


def adapters_are_fused() -> bool:
    """Whether the function that asks was called by what adds adapters to the weights for good."""
    return sys._getframe(2).f_code.co_name in _FUSING


def _wrapped_once(module: nn.Module) -> nn.Module | None:
    for attribute in _NAMES:
        inner = own_modules(module).get(attribute)
        if inner is not None and wraps(module, attribute):
            return inner
    return None
